package nave;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.microsoft.azure.sdk.iot.provisioning.service.ProvisioningServiceClient;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;

/** Case is what a running case has at hand. */
final class Case {
    private static final JsonObject HUB = new Gson().fromJson(System.getenv("NAVE_TEST_SDK_HUB"), JsonObject.class);
    private static final AtomicInteger IDS = new AtomicInteger();

    final String name;
    private final Deque<AutoCloseable> later = new ArrayDeque<>();

    Case(String name) {
        this.name = name;
    }

    /** hub returns what the Go side told of the hub and the provisioning service. */
    static String hub(String key) {
        return HUB.get(key).getAsString();
    }

    ProvisioningServiceClient service() {
        return new ProvisioningServiceClient(hub("dpsOwner"));
    }

    JsonElement ask(String verb, Object... args) throws Exception {
        return Driver.ask(verb, args);
    }

    /** id returns a registration or group id that is the case's own. */
    String id() {
        String text = ("java-" + name).toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-");
        return text.substring(0, Math.min(50, text.length())).replaceAll("-+$", "") + "-" + IDS.incrementAndGet();
    }

    /** after closes c when the case is over, last one first. */
    void after(AutoCloseable c) {
        synchronized (later) {
            later.push(c);
        }
    }

    void end() {
        synchronized (later) {
            for (AutoCloseable c : later) {
                try {
                    c.close();
                } catch (Exception e) {
                    e.printStackTrace();
                }
            }
        }
    }

    static void equal(Object have, Object want, String what) {
        if (!Objects.equals(have, want)) {
            throw new AssertionError(what + " is " + have + ", want " + want);
        }
    }

    static void check(boolean ok, String what) {
        if (!ok) {
            throw new AssertionError(what);
        }
    }

    /** fails calls f, which has to throw an exception of the kind, whose text it has with its causes. */
    static String fails(Class<? extends Exception> kind, Callable<?> f) {
        Object result;
        try {
            result = f.call();
        } catch (Exception e) {
            StringBuilder text = new StringBuilder();
            for (Throwable c = e; c != null; c = c.getCause()) {
                text.append(c).append('\n');
            }
            if (!kind.isInstance(e)) {
                throw new AssertionError("want " + kind.getSimpleName(), e);
            }
            return text.toString();
        }
        throw new AssertionError("it went well: " + result);
    }
}
