#if canImport(UIKit) && !os(watchOS)
    import Foundation
    import UIKit

    /// Reports to a governor, from its creation until it is released: the device's thermal
    /// state, its memory warnings, and that the app enters the background or the foreground.
    ///
    /// In the background answers are paused, since the system suspends the app anyway. iOS
    /// does not say when memory is sufficient again, so a warning is in force for ten
    /// seconds.
    public final class DeviceEvents: @unchecked Sendable {
        // Unchecked: `tokens` is written in `init` alone, and `deinit` reads it.
        private let tokens: [any NSObjectProtocol]

        public convenience init(governor: Governor) {
            self.init(governor: governor, warningSeconds: 10)
        }

        init(governor: Governor, warningSeconds: Double) {
            let heat: @Sendable () -> Void = {
                governor.setThermal(ThermalState(ProcessInfo.processInfo.thermalState))
            }
            heat()
            let warnings = MemoryWarnings(governor: governor, seconds: warningSeconds)
            tokens = [
                observe(ProcessInfo.thermalStateDidChangeNotification, heat),
                observe(UIApplication.didReceiveMemoryWarningNotification) { warnings.warn() },
                observe(UIApplication.didEnterBackgroundNotification) { governor.pause() },
                observe(UIApplication.willEnterForegroundNotification) { governor.resume() },
            ]
        }

        deinit {
            tokens.forEach(NotificationCenter.default.removeObserver)
        }
    }

    private func observe(
        _ name: Notification.Name, _ react: @escaping @Sendable () -> Void
    ) -> any NSObjectProtocol {
        NotificationCenter.default.addObserver(forName: name, object: nil, queue: nil) { _ in
            react()
        }
    }

    /// Sets critical memory pressure on a warning, and normal pressure some seconds after
    /// the last warning.
    private final class MemoryWarnings: Sendable {
        private let governor: Governor
        private let seconds: Double
        private let count = Locked(0)

        init(governor: Governor, seconds: Double) {
            self.governor = governor
            self.seconds = seconds
        }

        func warn() {
            governor.setMemoryPressure(.critical)
            let warning = count.with { count in
                count += 1
                return count
            }
            DispatchQueue.global().asyncAfter(deadline: .now() + seconds) { [self] in
                if count.with({ $0 }) == warning {
                    governor.setMemoryPressure(.normal)
                }
            }
        }
    }

    extension ThermalState {
        init(_ state: ProcessInfo.ThermalState) {
            self =
                switch state {
                case .nominal: .nominal
                case .fair: .fair
                case .serious: .serious
                case .critical: .critical
                @unknown default: .serious
                }
        }
    }
#endif
