package nave;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Runs cases against a hub on the orders of the Go test that started this process, in the lines that ../../node/driver.js
 * describes. Unlike there cases run at the same time: most of their time is the SDK's wait before it polls.
 */
public final class Driver {
    /** Body is a case. */
    interface Body {
        void run(Case t) throws Exception;
    }

    private static final int CASES_AT_A_TIME = 24;
    private static final int CASE_SECONDS = 240;

    private static final Gson JSON = new Gson();
    private static final PrintStream OUT = System.out;
    private static final Map<Integer, CompletableFuture<JsonElement>> ASKED = new ConcurrentHashMap<>();
    private static final AtomicInteger ASKS = new AtomicInteger();

    private Driver() {}

    public static void main(String[] args) throws Exception {
        System.setOut(System.err);
        Map<String, Body> cases = new LinkedHashMap<>();
        Provision.add(cases);
        Service.add(cases);
        String wanted = System.getenv("NAVE_TEST_SDK_JAVA_CASES"); // a regular expression
        if (wanted != null) {
            cases.keySet().removeIf((name) -> !name.matches(wanted));
        }
        say(Map.of("cases", cases.keySet()));
        ExecutorService runners = Executors.newFixedThreadPool(CASES_AT_A_TIME);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            JsonObject m = JSON.fromJson(line, JsonObject.class);
            if (m.has("run")) {
                String name = m.get("run").getAsString();
                runners.execute(() -> run(name, cases.get(name)));
            } else {
                answer(m);
            }
        }
        System.exit(0);
    }

    /** ask has the Go side do something and returns its answer; args are names and values by turns. */
    static JsonElement ask(String verb, Object... args) throws Exception {
        int n = ASKS.incrementAndGet();
        CompletableFuture<JsonElement> answer = new CompletableFuture<>();
        ASKED.put(n, answer);
        Map<String, Object> m = new LinkedHashMap<>(Map.of("ask", n, "do", verb));
        for (int i = 0; i < args.length; i += 2) {
            m.put((String) args[i], args[i + 1]);
        }
        say(m);
        return answer.get();
    }

    private static void answer(JsonObject m) {
        CompletableFuture<JsonElement> asked = ASKED.remove(m.get("answer").getAsInt());
        if (m.has("error")) {
            asked.completeExceptionally(new IllegalStateException("the hub's side: " + m.get("error").getAsString()));
        } else {
            asked.complete(m.has("value") ? m.get("value") : JsonNull.INSTANCE);
        }
    }

    private static void run(String name, Body body) {
        Case t = new Case(name);
        long began = System.nanoTime();
        FutureTask<Void> work = new FutureTask<>(() -> {
            body.run(t);
            return null;
        });
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        String error = null;
        try {
            work.get(CASE_SECONDS, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            Exception where = new Exception("not done after " + CASE_SECONDS + " s");
            where.setStackTrace(thread.getStackTrace());
            error = trace(where);
        } catch (Throwable e) {
            error = trace(e.getCause() == null ? e : e.getCause());
        }
        t.end();
        long ms = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
        say(error == null ? Map.of("case", name, "ok", true, "ms", ms) : Map.of("case", name, "ok", false, "ms", ms, "error", error));
    }

    private static String trace(Throwable e) {
        StringWriter text = new StringWriter();
        e.printStackTrace(new PrintWriter(text));
        return text.toString();
    }

    private static void say(Object value) {
        byte[] line = (JSON.toJson(value) + "\n").getBytes(StandardCharsets.UTF_8);
        synchronized (OUT) {
            OUT.write(line, 0, line.length);
            OUT.flush();
        }
    }
}
