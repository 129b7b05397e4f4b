// NOT UIKit. A stand-in with the names that this package uses, so that its code for iOS
// can be compiled, and tested, on Linux. Only the tests' build contains it, no app does.

@_exported import Foundation

public final class UIApplication {
    public static let didReceiveMemoryWarningNotification =
        Notification.Name("UIApplicationDidReceiveMemoryWarningNotification")
    public static let didEnterBackgroundNotification =
        Notification.Name("UIApplicationDidEnterBackgroundNotification")
    public static let willEnterForegroundNotification =
        Notification.Name("UIApplicationWillEnterForegroundNotification")
}

// Declarations of Apple's Foundation that Foundation on Linux lacks.
extension ProcessInfo {
    public enum ThermalState: Int, Sendable {
        case nominal, fair, serious, critical
    }

    public static let thermalStateDidChangeNotification =
        Notification.Name("NSProcessInfoThermalStateDidChangeNotification")

    public var thermalState: ThermalState { .nominal }
}
