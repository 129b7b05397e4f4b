// NOT SwiftUI. A stand-in with the names that the sample uses, so that the sample can be
// compiled on Linux. It draws nothing. Only the tests' build contains it, no app does.

import Foundation

@MainActor @preconcurrency
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    public var body: Never { return fatalError("a stand-in") }
}

public protocol Primitive: View where Body == Never {}

extension Primitive {
    public var body: Never { return fatalError("a stand-in") }
}

public struct Some: Primitive {
    nonisolated init() {}
}

@resultBuilder
public enum ViewBuilder {
    public static func buildBlock<each V: View>(_ views: repeat each V) -> Some { Some() }
    public static func buildEither(first: some View) -> Some { Some() }
    public static func buildEither(second: some View) -> Some { Some() }
    public static func buildOptional(_ view: (some View)?) -> Some { Some() }
}

public struct VStack: Primitive {
    public init(@ViewBuilder content: () -> some View) {}
}

public struct HStack: Primitive {
    public init(@ViewBuilder content: () -> some View) {}
}

public struct ScrollView: Primitive {
    public init(@ViewBuilder content: () -> some View) {}
}

public struct ForEach: Primitive {
    public init<Data: RandomAccessCollection, ID: Hashable>(
        _ data: Data, id: KeyPath<Data.Element, ID>,
        @ViewBuilder content: @escaping (Data.Element) -> some View
    ) {}
}

public struct Text: Primitive {
    public init(_ text: String) {}
}

public struct Button: Primitive {
    public init(_ title: String, action: @escaping @MainActor () -> Void) {}
}

public struct TextField: Primitive {
    public init(_ title: String, text: Binding<String>) {}
}

public struct Color: Sendable {
    public static let blue = Color()
    public static let primary = Color()
}

public struct Font: Sendable {
    public static let footnote = Font()
}

public struct UTType: Sendable {
    public static let data = UTType()
}

extension View {
    public func padding() -> some View { Some() }
    public func font(_ font: Font) -> some View { Some() }
    public func foregroundStyle(_ color: Color) -> some View { Some() }
    public func disabled(_ disabled: Bool) -> some View { Some() }
    public func fileImporter(
        isPresented: Binding<Bool>, allowedContentTypes: [UTType],
        onCompletion: @escaping (Result<URL, any Error>) -> Void
    ) -> some View { Some() }
}

@propertyWrapper
public struct State<Value> {
    public var wrappedValue: Value {
        get { fatalError("a stand-in") }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { Binding() }
    public init(wrappedValue: Value) {}
}

public struct Binding<Value> {}

public protocol ObservableObject: AnyObject {}

@propertyWrapper
public struct Published<Value> {
    public var wrappedValue: Value
    public init(wrappedValue: Value) {
        self.wrappedValue = wrappedValue
    }
}

@propertyWrapper
@MainActor @preconcurrency
public struct StateObject<Object: ObservableObject> {
    public var wrappedValue: Object { fatalError("a stand-in") }
    public init(wrappedValue: @autoclosure @escaping () -> Object) {}
}

@MainActor @preconcurrency
public protocol Scene {}

public struct WindowGroup: Scene {
    public init(@ViewBuilder content: () -> some View) {}
}

@MainActor @preconcurrency
public protocol App {
    associatedtype Body: Scene
    var body: Body { get }
    init()
}

extension App {
    public static func main() {}
}

// Declarations of Apple's Foundation that Foundation on Linux lacks.
extension URL {
    public func startAccessingSecurityScopedResource() -> Bool { false }
    public func stopAccessingSecurityScopedResource() {}
}
