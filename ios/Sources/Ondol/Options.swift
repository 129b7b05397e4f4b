import Foundation
internal import OndolFFI

/// Where a model's bytes are.
public enum ModelSource: Sendable, Hashable {
    /// A GGUF file; of a split model the first part.
    case file(URL)
    /// A range of bytes of a file; the range holds a whole GGUF file. Without a length it
    /// is the rest of the file.
    case part(URL, offset: Int, length: Int? = nil)
    /// The built-in model, for tests and first steps.
    case hello
}

/// The type of a KV cache.
public enum KVType: String, Sendable, Hashable, Codable {
    /// Half floats.
    case f16
    /// 8-bit blocks: 34 bytes where `f16` takes 64.
    case q8_0
    /// Floats: twice the memory of `f16`, nothing is rounded. For comparisons.
    case f32

    var ffi: OndolFFI.KvType {
        switch self {
        case .f16: .f16
        case .q8_0: .q80
        case .f32: .f32
        }
    }
}

/// How a model is loaded and run. `nil` is the library's default, which may change.
public struct LoadOptions: Sendable, Hashable, Codable {
    /// The number of threads that compute, the one that generates included.
    public var threads: Int?
    /// The context in tokens.
    public var context: Int?
    /// The type of the KV cache.
    public var kvType: KVType?
    /// The largest number of tokens in one pass over a prompt.
    public var prefillChunk: Int?
    /// The largest number of drafts in one pass of decode; 0 switches drafts off.
    public var drafts: Int?
    /// The most bytes that all conversations and the model's own heap may take together.
    public var memoryLimit: Int?
    /// The name of the kernels.
    public var kernels: String?
    /// Whether the threads run on the big cores alone, where the system allows it.
    public var bigCores: Bool?
    /// A folder for the packed copy, which decodes faster and takes about as many bytes as
    /// the file; `nil` makes no packed copy.
    public var packedFolder: URL?
    /// The most bytes of all packed copies in the folder.
    public var packedLimit: Int?
    /// A plug-in that runs parts of the model on an NPU.
    public var delegate: DelegateOptions?

    public init(
        threads: Int? = nil, context: Int? = nil, kvType: KVType? = nil,
        prefillChunk: Int? = nil, drafts: Int? = nil, memoryLimit: Int? = nil,
        kernels: String? = nil, bigCores: Bool? = nil, packedFolder: URL? = nil,
        packedLimit: Int? = nil, delegate: DelegateOptions? = nil
    ) {
        self.threads = threads
        self.context = context
        self.kvType = kvType
        self.prefillChunk = prefillChunk
        self.drafts = drafts
        self.memoryLimit = memoryLimit
        self.kernels = kernels
        self.bigCores = bigCores
        self.packedFolder = packedFolder
        self.packedLimit = packedLimit
        self.delegate = delegate
    }
}

/// An NPU's plug-in, and how it is used. `nil` is the library's default.
public struct DelegateOptions: Sendable, Hashable, Codable {
    /// The plug-in: a library that keeps the contract of `ondol_npu.h`. Its code is trusted.
    public var plugIn: URL
    /// The largest number of rows of a prefill program.
    public var rows: Int?
    /// Whether decode runs on the device, as prefill does. With `nil`, the stages run on the
    /// device that `ondol bench --auto` found faster on it, where that was stored in `cache`, or
    /// else prefill alone.
    public var decode: Bool?
    /// Whether a failure of the device is an error; otherwise the CPU computes the span.
    public var strict: Bool?
    /// The time limit of one call of the device, in milliseconds.
    public var deadlineMilliseconds: Int?
    /// A folder in which compiled programs are stored for later runs, or a bundle: the file
    /// that `ondol compile` wrote, from which all programs come.
    public var cache: URL?

    public init(
        plugIn: URL, rows: Int? = nil, decode: Bool? = nil, strict: Bool? = nil,
        deadlineMilliseconds: Int? = nil, cache: URL? = nil
    ) {
        self.plugIn = plugIn
        self.rows = rows
        self.decode = decode
        self.strict = strict
        self.deadlineMilliseconds = deadlineMilliseconds
        self.cache = cache
    }
}

/// How an answer is generated. `nil` is the library's default.
public struct AnswerOptions: Sendable, Hashable, Codable {
    /// Divides the logits: 0 always takes the likeliest token; higher values vary more.
    public var temperature: Float?
    /// Samples from this many of the likeliest tokens; 0 is all.
    public var topK: Int?
    /// Samples from the likeliest tokens whose probabilities add up to this; 1 is all.
    public var topP: Float?
    /// Leaves out tokens whose probability is less than this share of the likeliest
    /// token's; 0 leaves out none.
    public var minP: Float?
    /// Divides positive and multiplies negative logits of recent tokens; 1 is off.
    public var repetitionPenalty: Float?
    /// Is subtracted from a recent token's logit for each time it occurs; 0 is off.
    public var frequencyPenalty: Float?
    /// Is subtracted once from the logit of each recent token; 0 is off.
    public var presencePenalty: Float?
    /// How many of the last tokens count as recent for the penalties.
    public var penaltyWindow: Int?
    /// The same seed gives the same answer; `nil` takes a new seed for each answer.
    public var seed: UInt64?
    /// The most tokens of an answer; `nil` sets no limit.
    public var maxTokens: Int?
    /// The text ends before the first of these strings.
    public var stop: [String]?

    public init(
        temperature: Float? = nil, topK: Int? = nil, topP: Float? = nil, minP: Float? = nil,
        repetitionPenalty: Float? = nil, frequencyPenalty: Float? = nil,
        presencePenalty: Float? = nil, penaltyWindow: Int? = nil, seed: UInt64? = nil,
        maxTokens: Int? = nil, stop: [String]? = nil
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.frequencyPenalty = frequencyPenalty
        self.presencePenalty = presencePenalty
        self.penaltyWindow = penaltyWindow
        self.seed = seed
        self.maxTokens = maxTokens
        self.stop = stop
    }
}

extension ModelSource {
    func ffi() throws -> OndolFFI.Source {
        switch self {
        case .file(let url):
            .path(path: try path(of: url))
        case .part(let url, let offset, let length):
            .part(
                path: try path(of: url), offset: try number(offset, "offset"),
                length: try length.map { try number($0, "length") })
        case .hello:
            .hello
        }
    }
}

extension LoadOptions {
    func ffi() throws -> OndolFFI.LoadOptions {
        OndolFFI.LoadOptions(
            threads: try threads.map { try number($0, "threads") },
            context: try context.map { try number($0, "context") },
            kvType: kvType?.ffi,
            prefillChunk: try prefillChunk.map { try number($0, "prefillChunk") },
            drafts: try drafts.map { try number($0, "drafts") },
            memoryLimit: try memoryLimit.map { try number($0, "memoryLimit") },
            kernels: kernels,
            bigCores: bigCores,
            packedFolder: try packedFolder.map(path(of:)),
            packedLimit: try packedLimit.map { try number($0, "packedLimit") },
            delegate: try delegate.map { try $0.ffi() })
    }
}

extension DelegateOptions {
    func ffi() throws -> OndolFFI.DelegateOptions {
        OndolFFI.DelegateOptions(
            path: try path(of: plugIn),
            rows: try rows.map { try number($0, "rows") },
            decode: decode,
            strict: strict,
            deadlineMs: try deadlineMilliseconds.map { try number($0, "deadlineMilliseconds") },
            cache: try cache.map(path(of:)))
    }
}

extension AnswerOptions {
    func ffi() throws -> OndolFFI.AnswerOptions {
        OndolFFI.AnswerOptions(
            temperature: temperature,
            topK: try topK.map { try number($0, "topK") },
            topP: topP,
            minP: minP,
            repetitionPenalty: repetitionPenalty,
            frequencyPenalty: frequencyPenalty,
            presencePenalty: presencePenalty,
            penaltyWindow: try penaltyWindow.map { try number($0, "penaltyWindow") },
            seed: seed,
            maxTokens: try maxTokens.map { try number($0, "maxTokens") },
            stop: stop ?? [])
    }
}

/// Converts a number to the library's type; throws if it is out of range.
func number<T: FixedWidthInteger>(_ value: Int, _ name: String) throws -> T {
    guard let number = T(exactly: value) else {
        throw OndolError.invalidArgument(detail: "\(name) is \(value), which is out of range")
    }
    return number
}

/// The path of a file's URL; throws if it is not a file's.
func path(of url: URL) throws -> String {
    guard url.isFileURL else {
        throw OndolError.invalidArgument(detail: "\(url) is not a file: download it first")
    }
    return url.path
}
