package dev.ondol;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** A real model in Java. */
@EnabledIfSystemProperty(named = "ondol.smollm2", matches = ".+", disabledReason = "no file of SmolLM2")
class SmolLm2JavaTest {
    private static String ask(Model model, String question) {
        StringBuilder text = new StringBuilder();
        AnswerOptions options = new AnswerOptions().temperature(0f).maxTokens(16);
        try (Conversation conversation = model.conversation();
                TokenStream tokens = conversation.stream(question, options)) {
            for (Token token : tokens) {
                assertFalse(token.getText().contains("\uFFFD"));
                text.append(token.getText());
            }
        }
        return text.toString();
    }

    @Test
    void itAnswersInKoreanAndEnglish() {
        try (Model model = Ondol.loadBlocking(System.getProperty("ondol.smollm2"))) {
            String korean = ask(model, "Repeat this exactly: 안녕하세요 🙂 안녕하세요 🙂 안녕하세요 🙂");
            assertTrue(korean.contains("안녕하세요 🙂"), korean);
            String english = ask(model, "Hello! Who are you?");
            assertTrue(english.contains("Hello!"), english);
        }
    }
}
