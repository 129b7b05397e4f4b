package dev.ondol.docs;

import dev.ondol.AnswerListener;
import dev.ondol.AnswerTask;
import dev.ondol.Conversation;
import dev.ondol.Model;
import dev.ondol.Ondol;
import dev.ondol.Token;
import dev.ondol.TokenStream;

/** The Java of docs/android.md. A test compares it with the page. */
public class JavaSnippets {
    void answer(String path, String question) {
        try (Model model = Ondol.loadBlocking(path);
                Conversation conversation = model.conversation();
                TokenStream tokens = conversation.stream(question)) {
            for (Token token : tokens) {
                System.out.print(token.getText());
            }
        }
    }

    AnswerTask ask(Conversation conversation, String question, StringBuffer text) {
        return conversation.send(question, new AnswerListener() {
            @Override
            public void onToken(Token token) {
                text.append(token.getText());
            }

            @Override
            public void onError(Throwable error) {
                text.append(error.getMessage());
            }
        });
    }
}
