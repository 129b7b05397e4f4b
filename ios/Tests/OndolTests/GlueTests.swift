import Foundation
import OndolFFI
import XCTest

@testable import Ondol

final class GlueTests: XCTestCase {
    /// Every kind of error of the library has a case in Swift, with its number and its text.
    func testEveryErrorOfTheLibraryKeepsItsNumberAndItsWords() {
        let all: [(String, UInt64, UInt64) -> OndolFFI.OndolError] = [
            OndolFFI.OndolError.InvalidArgument, OndolFFI.OndolError.Busy,
            OndolFFI.OndolError.Panicked, OndolFFI.OndolError.Other, OndolFFI.OndolError.Closed,
            OndolFFI.OndolError.Io, OndolFFI.OndolError.NotGguf, OndolFFI.OndolError.Truncated,
            OndolFFI.OndolError.UnsupportedVersion, OndolFFI.OndolError.UnsupportedType,
            OndolFFI.OndolError.UnsupportedPacking, OndolFFI.OndolError.UnknownArchitecture,
            OndolFFI.OndolError.MissingKey, OndolFFI.OndolError.BadValue,
            OndolFFI.OndolError.MissingTensor, OndolFFI.OndolError.BadShape,
            OndolFFI.OndolError.Malformed, OndolFFI.OndolError.Tokenizer,
            OndolFFI.OndolError.Template, OndolFFI.OndolError.DoesNotFit,
            OndolFFI.OndolError.ContextFull, OndolFFI.OndolError.BadToken,
            OndolFFI.OndolError.EmptyPrompt, OndolFFI.OndolError.Cancelled,
            OndolFFI.OndolError.UnsupportedKernels, OndolFFI.OndolError.Sampler,
            OndolFFI.OndolError.UnsupportedKvType, OndolFFI.OndolError.Snapshot,
            OndolFFI.OndolError.MemoryPressure, OndolFFI.OndolError.BatchFull,
            OndolFFI.OndolError.OtherOwner, OndolFFI.OndolError.Delegate,
            OndolFFI.OndolError.Store,
        ]
        for make in all {
            let theirs = make("why", 9, 4)
            let ours = Ondol.OndolError(theirs)
            XCTAssertEqual(ours.code, Int(errorCode(error: theirs)), "\(theirs)")
            XCTAssertEqual(ours.localizedDescription, "why", "\(theirs)")
        }
        let codes = Set(all.map { errorCode(error: $0("", 0, 0)) })
        XCTAssertEqual(codes.count, all.count)
        XCTAssertEqual(
            Ondol.OndolError(OndolFFI.OndolError.DoesNotFit(detail: "", needed: 9, allowed: 4)),
            .doesNotFit(needed: 9, allowed: 4, detail: ""))
    }

    #if ONDOL_TESTING
        func testAPanicIsAnErrorAndTheModelGoesOn() async throws {
            let model = try await hello()
            let panicked = await error { try call { try model.ffi.panic() } }
            guard case .panicked(let detail) = panicked else {
                return XCTFail("\(String(describing: panicked))")
            }
            XCTAssertTrue(detail.contains("on purpose"), detail)
            _ = try await answer(model.conversation(), "Hello!")
        }
    #endif
}
