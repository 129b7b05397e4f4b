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

/// A module that has Apple's name and those declarations of Apple's that this package
/// uses, so that code for it can be compiled on Linux.
func standIn(_ name: String, settings: [SwiftSetting] = []) -> Target {
    .target(name: name, path: "StandIns/\(name)", swiftSettings: settings)
}

let standIns: [Target] = [
    standIn("UIKit"),
    standIn("SwiftUI"),
    // The version in which Apple's module got protocols for other models.
    standIn("FoundationModels", settings: [.unsafeFlags(["-user-module-version", "2"])]),
    .target(
        name: "OndolSample",
        dependencies: ["Ondol", "SwiftUI", "UIKit"],
        path: "Sample"
    ),
]

let package = Package(
    name: "Ondol",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "Ondol", targets: ["Ondol"]),
        .library(name: "OndolFoundationModels", targets: ["OndolFoundationModels"]),
    ],
    targets: [
        library,
        .target(name: "OndolFFI", dependencies: ["COndolFFI"]),
        .target(
            name: "Ondol",
            dependencies: ["OndolFFI"] + (testing ? ["UIKit"] : []),
            resources: [.copy("PrivacyInfo.xcprivacy")]
        ),
        .target(
            name: "OndolFoundationModels",
            dependencies: ["Ondol"] + (testing ? ["FoundationModels"] : [])
        ),
        .testTarget(
            name: "OndolTests",
            dependencies: ["Ondol", "OndolFFI"],
            swiftSettings: testing ? [.define("ONDOL_TESTING")] : []
        ),
        .testTarget(
            name: "OndolFoundationModelsTests",
            dependencies: ["OndolFoundationModels"]
        ),
    ] + (testing ? standIns : [])
)
