internal import OndolFFI

/// How hot the device is.
public enum ThermalState: String, Sendable, Hashable, Codable, CaseIterable {
    /// Cool: all threads work.
    case nominal
    /// Warm: three quarters of the threads work.
    case fair
    /// Hot: half of the threads work.
    case serious
    /// Too hot: only the calling thread works.
    case critical
}

/// How short memory is.
public enum MemoryPressure: String, Sendable, Hashable, Codable, CaseIterable {
    /// Memory is sufficient.
    case normal
    /// Unused memory is released.
    case low
    /// As for `low`, and no conversation can be made.
    case critical
}

/// Takes the app's reports about the device, and pauses answers. It may be used from any
/// thread. It changes when work is done and by how many threads, never the result. Models
/// may share a governor. On iOS, ``DeviceEvents`` reports to it.
public final class Governor: Sendable {
    let ffi = OndolFFI.Governor()

    public init() {}

    /// Reports how hot the device is.
    public func setThermal(_ state: ThermalState) {
        switch state {
        case .nominal: ffi.setThermal(state: .nominal)
        case .fair: ffi.setThermal(state: .fair)
        case .serious: ffi.setThermal(state: .serious)
        case .critical: ffi.setThermal(state: .critical)
        }
    }

    /// Reports how short memory is.
    public func setMemoryPressure(_ pressure: MemoryPressure) {
        switch pressure {
        case .normal: ffi.setMemoryPressure(pressure: .normal)
        case .low: ffi.setMemoryPressure(pressure: .low)
        case .critical: ffi.setMemoryPressure(pressure: .critical)
        }
    }

    /// Pauses all answers after their current token or step of the prompt.
    public func pause() {
        ffi.pause()
    }

    /// Ends the pause: the answers continue.
    public func resume() {
        ffi.resume()
    }

    /// Whether answers are paused.
    public var isPaused: Bool {
        ffi.isPaused()
    }
}
