package dev.ondol;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Tests the API from Java; the tests run a second time without kotlinx-coroutines. */
class JavaApiTest {
    private final Model model = Ondol.loadBlocking(ModelSource.hello());
    private final AnswerOptions options = new AnswerOptions().temperature(0f).maxTokens(30);

    @AfterEach
    void close() {
        model.close();
    }

    /** Collects what an answer reports. */
    private static class Collector implements AnswerListener {
        final StringBuffer text = new StringBuffer();
        final CountDownLatch first = new CountDownLatch(1);
        final AtomicReference<AnswerEvent.End> end = new AtomicReference<>();
        final AtomicReference<Throwable> error = new AtomicReference<>();

        @Override
        public void onToken(Token token) {
            text.append(token.getText());
            first.countDown();
        }

        @Override
        public void onEnd(AnswerEvent.End ended) {
            end.set(ended);
        }

        @Override
        public void onError(Throwable thrown) {
            error.set(thrown);
        }
    }

    private String ask(Conversation conversation, String text) {
        StringBuilder answer = new StringBuilder();
        try (TokenStream stream = conversation.stream(text, options)) {
            for (Token token : stream) {
                answer.append(token);
            }
        }
        return answer.toString();
    }

    private String askAnew(List<ChatMessage> history, String text) {
        ConversationOptions begin = new ConversationOptions().messages(history);
        try (Conversation conversation = model.conversation(begin)) {
            return ask(conversation, text);
        }
    }

    @Test
    void coroutinesAreAbsentWhereTheyShouldBe() {
        if (Boolean.getBoolean("ondol.without.coroutines")) {
            assertThrows(ClassNotFoundException.class, () -> Class.forName("kotlinx.coroutines.Job"));
        }
    }

    @Test
    void aListenerHasTheWholeAnswer() throws InterruptedException {
        try (Conversation conversation = model.conversation()) {
            Collector collector = new Collector();
            AnswerTask task = conversation.send("안녕하세요", collector, options);
            AnswerEvent.End end = task.await();
            assertSame(end, collector.end.get());
            assertTrue(task.isDone());
            assertEquals(askAnew(new ArrayList<>(), "안녕하세요"), collector.text.toString());
            assertEquals(collector.text.toString(), conversation.history().get(1).getContent());
            assertTrue(end.getStats().getDecodeTokensPerSecond() > 0);
        }
    }

    @Test
    void aCancelledAnswerEndsAndTheNextIsRight() throws InterruptedException {
        try (Conversation conversation = model.conversation()) {
            Collector collector = new Collector() {
                @Override
                public void onToken(Token token) {
                    // A short answer would end before the test cancels it.
                    Governor.setPaused(true);
                    super.onToken(token);
                }
            };
            AnswerTask task = conversation.send("안녕하세요", collector, options);
            collector.first.await();
            assertFalse(task.isDone());
            task.cancel();
            assertEquals(FinishReason.CANCELLED, task.await().getReason());
            Governor.setPaused(false);
            List<ChatMessage> history = conversation.history();
            assertEquals(collector.text.toString(), history.get(1).getContent());
            assertEquals(askAnew(history, "And now?"), ask(conversation, "And now?"));
        }
    }

    @Test
    void anExceptionOfTheListenerEndsTheAnswer() {
        try (Conversation conversation = model.conversation()) {
            IllegalStateException mistake = new IllegalStateException("the app's");
            Collector collector = new Collector() {
                @Override
                public void onToken(Token token) {
                    super.onToken(token);
                    throw mistake;
                }
            };
            AnswerTask task = conversation.send("Hello!", collector, options);
            assertSame(mistake, assertThrows(IllegalStateException.class, task::await));
            assertSame(mistake, collector.error.get());
            assertFalse(conversation.isAnswering());
            List<ChatMessage> history = conversation.history();
            assertEquals(collector.text.toString(), history.get(1).getContent());
            assertEquals(askAnew(history, "And now?"), ask(conversation, "And now?"));
        }
    }

    @Test
    void anInterruptEndsAStreamInThePrompt() throws InterruptedException {
        try (Model roomy = Ondol.loadBlocking(ModelSource.hello(), new LoadOptions().context(16384));
                Conversation conversation = roomy.conversation()) {
            StringBuilder prompt = new StringBuilder();
            for (int i = 0; i < 1200; i++) {
                prompt.append("안녕하세요 hello ");
            }
            interruptEnds(conversation, prompt.toString(), 0);
        }
    }

    @Test
    void anInterruptEndsAStreamInTheAnswer() throws InterruptedException {
        try (Conversation conversation = model.conversation()) {
            interruptEnds(conversation, "안녕하세요", 3);
        } finally {
            Governor.setPaused(false);
        }
    }

    /** Interrupts a thread after it has taken some tokens, and waits for the next. */
    private void interruptEnds(Conversation conversation, String prompt, int tokens)
            throws InterruptedException {
        CountDownLatch taken = new CountDownLatch(1);
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        AtomicReference<Boolean> interrupted = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            try (TokenStream stream = conversation.stream(prompt, options)) {
                for (int i = 0; i < tokens; i++) {
                    stream.next();
                }
                // With a short prompt the next token would arrive before the interrupt.
                Governor.setPaused(tokens > 0);
                taken.countDown();
                stream.hasNext();
            } catch (OndolException ended) {
                thrown.set(ended);
                interrupted.set(Thread.currentThread().isInterrupted());
            }
        });
        thread.start();
        taken.await();
        Thread.sleep(20);
        thread.interrupt();
        thread.join(10_000);
        assertFalse(thread.isAlive());
        Governor.setPaused(false);
        assertTrue(thrown.get() instanceof OndolException.Cancelled, "" + thrown.get());
        assertEquals(true, interrupted.get());
        assertFalse(conversation.isAnswering());
        List<ChatMessage> history = conversation.history();
        // Without any text there is no trace of the message either.
        assertEquals(tokens > 0 ? 2 : 0, history.size());
        assertEquals(askAnew(history, "And now?"), ask(conversation, "And now?"));
    }

    @Test
    void aStreamThatIsClosedEarlyEnds() {
        try (Conversation conversation = model.conversation()) {
            TokenStream stream = conversation.stream("Hello!", options);
            assertTrue(stream.hasNext());
            String text = stream.next().getText();
            stream.close();
            assertThrows(OndolException.Closed.class, stream::hasNext);
            assertEquals(text, conversation.history().get(1).getContent());
            assertTrue(endOf(conversation).getStats().getGeneratedTokens() > 3);
        }
    }

    private AnswerEvent.End endOf(Conversation conversation) {
        try (TokenStream stream = conversation.stream("And now?", options)) {
            stream.forEachRemaining(token -> assertNotNull(token.getText()));
            return stream.getEnd();
        }
    }

    @Test
    void optionsAreChained() {
        LoadOptions load = new LoadOptions().threads(1).context(128).kvType(KvType.F16);
        String path = new File(System.getProperty("ondol.root"), "models/hello/hello.gguf").getPath();
        assertTrue(Ondol.memoryBlocking(path, load).getTotal() > 0);
        try (Model small = Ondol.loadBlocking(path, load)) {
            assertEquals(128, small.getInfo().getContext());
            ConversationOptions begin = new ConversationOptions()
                    .system("Answer briefly.")
                    .message("user", "Hello!")
                    .message("assistant", "Hello.")
                    .answers(options.copy().stop(Arrays.asList("\n")));
            try (Conversation conversation = small.conversation(begin)) {
                assertEquals(3, conversation.history().size());
                assertEquals("system", conversation.history().get(0).getRole());
            }
        }
    }
}
