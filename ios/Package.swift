// swift-tools-version: 6.0
// Ondol for apps: docs/ios.md.

import PackageDescription

/// The library with a panic to provoke, and stand-ins for Apple's modules: the tests of
/// `cargo xtask swift` alone.
let testing = Context.environment["ONDOL_TESTING"] != nil

#if os(Linux)
/// `libondol_ffi.so`, which the linker must find: `-Xlinker -L<folder>`.
let library: Target = .systemLibrary(name: "COndolFFI")
#else
/// `cargo xtask ios` makes it and says where it is; copy it here.
let library: Target = .binaryTarget(name: "COndolFFI", path: "Ondol.xcframework")
#endif

let ffi: Target = .target(name: "OndolFFI", dependencies: ["COndolFFI"])

let ondol: Target = .target(
    name: "Ondol",
    dependencies: ["OndolFFI"],
    resources: [.copy("PrivacyInfo.xcprivacy")]
)

let foundationModels: Target = .target(
    name: "OndolFoundationModels",
    dependencies: ["Ondol"]
)

let tests: Target = .testTarget(
    name: "OndolTests",
    dependencies: ["Ondol", "OndolFFI"]
)

let foundationModelsTests: Target = .testTarget(
    name: "OndolFoundationModelsTests",
    dependencies: ["OndolFoundationModels"]
)

let package = Package(
    name: "Ondol",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "Ondol", targets: ["Ondol"]),
        .library(name: "OndolFoundationModels", targets: ["OndolFoundationModels"]),
    ],
    targets: [library, ffi, ondol, foundationModels, tests, foundationModelsTests]
)

/// A module that has Apple's name and those declarations of Apple's that this package
/// uses, so that code for it can be compiled on Linux.
func standIn(_ name: String) -> Target {
    .target(name: name, path: "StandIns/\(name)")
}

if testing {
    let uiKit = standIn("UIKit")
    let log = standIn("os")
    let swiftUI = standIn("SwiftUI")
    let models = standIn("FoundationModels")
    // The version in which Apple's module got protocols for other models.
    models.swiftSettings = [.unsafeFlags(["-user-module-version", "2"])]
    let sample: Target = .executableTarget(
        name: "OndolSample", dependencies: ["Ondol", "SwiftUI", "UIKit"], path: "Sample")
    package.targets.append(contentsOf: [uiKit, log, swiftUI, models, sample])

    ondol.dependencies.append(contentsOf: ["UIKit", "os"])
    foundationModels.dependencies.append("FoundationModels")
    // What the snippets of the page import.
    tests.dependencies.append(contentsOf: ["OndolFoundationModels", "SwiftUI"])
    tests.swiftSettings = [.define("ONDOL_TESTING")]
}
