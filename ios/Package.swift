// swift-tools-version: 6.0
// Ondol for apps: docs/ios.md.

import PackageDescription

/// Whether to build for the tests of `cargo xtask swift`: with a library in which a panic
/// can be provoked, and with stand-ins for Apple's modules.
let testing = Context.environment["ONDOL_TESTING"] != nil

#if os(Linux)
/// `libondol_ffi.so`, which the linker must find: `-Xlinker -L<folder>`.
let library: Target = .systemLibrary(name: "COndolFFI")
#else
/// `cargo xtask ios` makes the XCFramework and prints its path; copy it here.
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

/// A module with the name of one of Apple's modules and the declarations of it that this
/// package uses, so that code for Apple's module can be compiled on Linux.
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
    // The snippets of docs/ios.md import these modules.
    tests.dependencies.append(contentsOf: ["OndolFoundationModels", "SwiftUI"])
    tests.swiftSettings = [.define("ONDOL_TESTING")]
}
