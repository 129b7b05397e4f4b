internal import OndolFFI

/// How hot the device is.
public enum ThermalState: String, Sendable, Hashable, Codable, CaseIterable {
    /// Cool.
    case nominal
    /// Warm: fewer threads work.
    case fair
    /// Hot: half of the threads work.
    case serious
    /// Too hot: one thread works.
    case critical
}

/// How short memory is.
public enum MemoryPressure: String, Sendable, Hashable, Codable, CaseIterable {
    /// There is enough.
    case normal
    /// Unused memory is given back.
    case low
    /// No conversation can be made.
    case critical
}

/// Takes what the app knows about the device, and pauses answers, from any thread. It
/// changes when work is done and by how many threads, never the result. Models may share
/// one. On iOS, ``DeviceEvents`` reports to it.
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

    /// Holds all answers after their current token or layer.
    public func pause() {
        ffi.pause()
    }

    /// Lets them go on.
    public func resume() {
        ffi.resume()
    }

    /// Whether answers are held.
    public var isPaused: Bool {
        ffi.isPaused()
    }
}
