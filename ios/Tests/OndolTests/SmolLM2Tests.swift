import Foundation
import Ondol
import XCTest

/// A real model, whose vocabulary cuts Hangul and emoji into several tokens.
final class SmolLM2Tests: XCTestCase {
    func testItAnswersInKoreanAndEnglish() async throws {
        guard let path = ProcessInfo.processInfo.environment["ONDOL_SMOLLM2"] else {
            throw XCTSkip("ONDOL_SMOLLM2 does not name SmolLM2's file")
        }
        let model = try await Model.load(URL(fileURLWithPath: path))
        XCTAssertGreaterThan(try model.countTokens("🙂"), 1)
        let korean = "Repeat this exactly: 안녕하세요 🙂 안녕하세요 🙂 안녕하세요 🙂"
        let options = AnswerOptions(temperature: 0, maxTokens: 16)
        for (question, expected) in [(korean, "안녕하세요 🙂"), ("Hello! Who are you?", "Hello!")] {
            let whole = try await answer(model.conversation(), question, options)
            XCTAssertGreaterThan(whole.tokens.count, 4)
            XCTAssertFalse(whole.tokens.contains { $0.text.contains("\u{FFFD}") }, whole.text)
            XCTAssertTrue(whole.text.contains(expected), whole.text)
        }
    }
}
