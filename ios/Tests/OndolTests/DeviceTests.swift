#if canImport(UIKit)
    import Foundation
    import UIKit
    import XCTest

    @testable import Ondol

    /// Uses the stand-in for UIKit, which has the notifications' names.
    final class DeviceTests: XCTestCase {
        func testTheDeviceReportsToTheGovernor() async throws {
            let governor = Governor()
            let model = try await Model.load(.hello, governor: governor)
            var events: DeviceEvents? = DeviceEvents(governor: governor, warningSeconds: 0.3)
            let post = { NotificationCenter.default.post(name: $0, object: nil) }

            post(UIApplication.didEnterBackgroundNotification)
            XCTAssertTrue(governor.isPaused)
            post(UIApplication.willEnterForegroundNotification)
            XCTAssertFalse(governor.isPaused)

            post(UIApplication.didReceiveMemoryWarningNotification)
            let why = await code { try model.conversation() }
            XCTAssertEqual(why, 39)
            let lifted = try await within(seconds: 5) { (try? model.conversation()) != nil }
            XCTAssertTrue(lifted)

            post(ProcessInfo.thermalStateDidChangeNotification)
            _ = try await answer(model.conversation(), "Hello!")

            events = nil
            XCTAssertNil(events)
            post(UIApplication.didEnterBackgroundNotification)
            XCTAssertFalse(governor.isPaused, "nobody listens any more")
        }
    }
#endif
