import Foundation
internal import OndolFFI

/// Why a call failed. The detail says in English what was wrong, where, and what to do.
public enum OndolError: Error, Sendable, Hashable {
    /// An argument is missing, out of range or unknown.
    case invalidArgument(detail: String)
    /// The conversation is answering or computing at this moment.
    case busy(detail: String)
    /// The library panicked: a bug in Ondol. Close the conversation, and load the model
    /// anew. Libraries for phones end the process instead.
    case panicked(detail: String)
    /// Another error.
    case other(detail: String)
    /// The conversation was closed.
    case closed(detail: String)
    /// The operating system refused the file.
    case io(detail: String)
    /// The file is not a GGUF file.
    case notGGUF(detail: String)
    /// The file is shorter than its header says.
    case truncated(detail: String)
    /// The version or byte order of GGUF is not supported.
    case unsupportedVersion(detail: String)
    /// A quantization type is not supported by this build.
    case unsupportedType(detail: String)
    /// The file was packed in another version of the packed layout.
    case unsupportedPacking(detail: String)
    /// This build does not support the architecture.
    case unknownArchitecture(detail: String)
    /// A metadata key is missing.
    case missingKey(detail: String)
    /// A metadata key has a value of the wrong type or out of range.
    case badValue(detail: String)
    /// A tensor is missing.
    case missingTensor(detail: String)
    /// A tensor has the wrong dimensions.
    case badShape(detail: String)
    /// The file breaks the rules of its format.
    case malformed(detail: String)
    /// The vocabulary can't be used.
    case tokenizer(detail: String)
    /// The chat template can't be compiled or rendered.
    case template(detail: String)
    /// More bytes are needed than are allowed, or than the system provides.
    case doesNotFit(needed: Int, allowed: Int, detail: String)
    /// The tokens do not fit in the context.
    case contextFull(needed: Int, allowed: Int, detail: String)
    /// A token is outside the vocabulary.
    case badToken(detail: String)
    /// The prompt has no tokens.
    case emptyPrompt(detail: String)
    /// The work was cancelled, but not by its own task, which gives a `CancellationError`.
    case cancelled(detail: String)
    /// The kernels that were asked for can't run on this CPU, or have no such name.
    case unsupportedKernels(detail: String)
    /// An option of the sampler is out of range, or no token can be chosen.
    case sampler(detail: String)
    /// This build or this model does not support this type of KV cache.
    case unsupportedKVType(detail: String)
    /// A conversation can't be saved or restored.
    case snapshot(detail: String)
    /// The governor reports critical memory pressure: no conversation can be made.
    case memoryPressure(detail: String)
    /// More sessions than a batch allows.
    case batchFull(detail: String)
    /// An object belongs to another model.
    case otherOwner(detail: String)
    /// An NPU's plug-in failed, or can't run the model.
    case delegate(detail: String)
    /// A packed copy of the model can't be made.
    case store(detail: String)
}

extension OndolError: LocalizedError {
    public var errorDescription: String? { described.detail }

    /// The kind's number, the same in every language.
    public var code: Int { described.code }

    private var described: (code: Int, detail: String) {
        switch self {
        case .invalidArgument(let detail): (1, detail)
        case .busy(let detail): (3, detail)
        case .panicked(let detail): (4, detail)
        case .other(let detail): (5, detail)
        case .closed(let detail): (6, detail)
        case .io(let detail): (10, detail)
        case .notGGUF(let detail): (11, detail)
        case .truncated(let detail): (12, detail)
        case .unsupportedVersion(let detail): (13, detail)
        case .unsupportedType(let detail): (14, detail)
        case .unsupportedPacking(let detail): (15, detail)
        case .unknownArchitecture(let detail): (16, detail)
        case .missingKey(let detail): (17, detail)
        case .badValue(let detail): (18, detail)
        case .missingTensor(let detail): (19, detail)
        case .badShape(let detail): (20, detail)
        case .malformed(let detail): (21, detail)
        case .tokenizer(let detail): (22, detail)
        case .template(let detail): (23, detail)
        case .doesNotFit(_, _, let detail): (30, detail)
        case .contextFull(_, _, let detail): (31, detail)
        case .badToken(let detail): (32, detail)
        case .emptyPrompt(let detail): (33, detail)
        case .cancelled(let detail): (34, detail)
        case .unsupportedKernels(let detail): (35, detail)
        case .sampler(let detail): (36, detail)
        case .unsupportedKVType(let detail): (37, detail)
        case .snapshot(let detail): (38, detail)
        case .memoryPressure(let detail): (39, detail)
        case .batchFull(let detail): (40, detail)
        case .otherOwner(let detail): (41, detail)
        case .delegate(let detail): (42, detail)
        case .store(let detail): (43, detail)
        }
    }
}

extension OndolError {
    /// Converts an error that the UniFFI code threw.
    init(_ error: OndolFFI.OndolError) {
        switch error {
        case .InvalidArgument(let detail, _, _): self = .invalidArgument(detail: detail)
        case .Busy(let detail, _, _): self = .busy(detail: detail)
        case .Panicked(let detail, _, _): self = .panicked(detail: detail)
        case .Other(let detail, _, _): self = .other(detail: detail)
        case .Closed(let detail, _, _): self = .closed(detail: detail)
        case .Io(let detail, _, _): self = .io(detail: detail)
        case .NotGguf(let detail, _, _): self = .notGGUF(detail: detail)
        case .Truncated(let detail, _, _): self = .truncated(detail: detail)
        case .UnsupportedVersion(let detail, _, _): self = .unsupportedVersion(detail: detail)
        case .UnsupportedType(let detail, _, _): self = .unsupportedType(detail: detail)
        case .UnsupportedPacking(let detail, _, _): self = .unsupportedPacking(detail: detail)
        case .UnknownArchitecture(let detail, _, _): self = .unknownArchitecture(detail: detail)
        case .MissingKey(let detail, _, _): self = .missingKey(detail: detail)
        case .BadValue(let detail, _, _): self = .badValue(detail: detail)
        case .MissingTensor(let detail, _, _): self = .missingTensor(detail: detail)
        case .BadShape(let detail, _, _): self = .badShape(detail: detail)
        case .Malformed(let detail, _, _): self = .malformed(detail: detail)
        case .Tokenizer(let detail, _, _): self = .tokenizer(detail: detail)
        case .Template(let detail, _, _): self = .template(detail: detail)
        case .DoesNotFit(let detail, let needed, let allowed):
            self = .doesNotFit(
                needed: Int(clamping: needed), allowed: Int(clamping: allowed), detail: detail)
        case .ContextFull(let detail, let needed, let allowed):
            self = .contextFull(
                needed: Int(clamping: needed), allowed: Int(clamping: allowed), detail: detail)
        case .BadToken(let detail, _, _): self = .badToken(detail: detail)
        case .EmptyPrompt(let detail, _, _): self = .emptyPrompt(detail: detail)
        case .Cancelled(let detail, _, _): self = .cancelled(detail: detail)
        case .UnsupportedKernels(let detail, _, _): self = .unsupportedKernels(detail: detail)
        case .Sampler(let detail, _, _): self = .sampler(detail: detail)
        case .UnsupportedKvType(let detail, _, _): self = .unsupportedKVType(detail: detail)
        case .Snapshot(let detail, _, _): self = .snapshot(detail: detail)
        case .MemoryPressure(let detail, _, _): self = .memoryPressure(detail: detail)
        case .BatchFull(let detail, _, _): self = .batchFull(detail: detail)
        case .OtherOwner(let detail, _, _): self = .otherOwner(detail: detail)
        case .Delegate(let detail, _, _): self = .delegate(detail: detail)
        case .Store(let detail, _, _): self = .store(detail: detail)
        }
    }
}

/// Runs a call of the UniFFI code, and throws its errors as errors of this module.
func call<T>(_ work: () throws -> T) throws -> T {
    do {
        return try work()
    } catch let error as OndolFFI.OndolError {
        throw OndolError(error)
    } catch let error as OndolError {
        throw error
    } catch {
        // The only other error that the UniFFI code throws is a panic that it caught.
        throw OndolError.panicked(detail: "Ondol panicked, which is a bug in Ondol: \(error.localizedDescription)")
    }
}
