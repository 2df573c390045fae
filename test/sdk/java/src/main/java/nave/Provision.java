package nave;

import static nave.Case.check;
import static nave.Case.equal;
import static nave.Case.fails;

import com.google.gson.JsonObject;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.transport.NoRetry;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClient;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientRegistrationResult;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientStatus;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientSubstatus;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientTransportProtocol;
import com.microsoft.azure.sdk.iot.provisioning.device.internal.exceptions.ProvisioningDeviceClientException;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProvider;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.DeviceRegistrationState;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;

/** Provision is the life of devices that are provisioned: each way to prove themselves over each transport. */
final class Provision {
    /** REJECTED is all that this SDK tells of an error over AMQP. */
    private static final String REJECTED = "remote state was Rejected";

    /** NO_CHALLENGE is what this SDK makes of a 401 over HTTPS that has no key for the TPM. */
    private static final String NO_CHALLENGE = "NullPointerException";

    private static final int REGISTER_SECONDS = 100;
    private static final int TWIN_MILLISECONDS = 2000;

    private Provision() {}

    static void add(Map<String, Driver.Body> cases) {
        for (var p : ProvisioningDeviceClientTransportProtocol.values()) {
            String over = " over " + p;
            cases.put("DPS-281 symmetric key, individual," + over, (t) -> life(t, p, Device::symmetric, 401002));
            cases.put("DPS-281 symmetric key, group," + over, (t) -> life(t, p, Device::symmetricGroup, 401002));
            cases.put("DPS-281 X.509, individual," + over, (t) -> life(t, p, Device::x509, 401002));
            cases.put("DPS-281 X.509, group, two intermediates below the root," + over, (t) -> life(t, p, Device::x509Group, 401002));
            cases.put("DPS-281 X.509, group of an intermediate," + over, (t) -> once(t, p, Device.x509Below(t)));
            cases.put("DPS-281 wrong key," + over, (t) -> wrongKey(t, p));
            cases.put("DPS-281 another certificate," + over, (t) -> wrongCertificate(t, p));
        }
        // Over AMQP this SDK waits for about ten seconds in a registration by TPM, so that a whole life takes a minute.
        cases.put("DPS-282 TPM over HTTPS", (t) -> life(t, ProvisioningDeviceClientTransportProtocol.HTTPS, Device::tpm, 404201));
        for (var p : List.of(ProvisioningDeviceClientTransportProtocol.AMQPS, ProvisioningDeviceClientTransportProtocol.AMQPS_WS)) {
            cases.put("DPS-282 TPM over " + p, (t) -> once(t, p, Device.tpm(t)));
        }
        for (var p : List.of(ProvisioningDeviceClientTransportProtocol.HTTPS, ProvisioningDeviceClientTransportProtocol.AMQPS,
            ProvisioningDeviceClientTransportProtocol.AMQPS_WS)) {
            cases.put("DPS-282 another TPM over " + p, (t) -> wrongTpm(t, p));
        }
    }

    /** Registered is what a device was told, and what it proved itself with, which over TPMs has the key for the hub from then on. */
    record Registered(ProvisioningDeviceClientRegistrationResult told, SecurityProvider security) {}

    /**
     * register registers a device. Over MQTT and AMQP this SDK misses an answer that comes before it waits for it (it waits on a monitor
     * without a look at what came): it goes on after a minute where it registers, and says that it timed out where it polls, as it does
     * when the service takes ten seconds. The device then starts anew, as each registration leaves a session open in a TPM.
     */
    static Registered register(ProvisioningDeviceClientTransportProtocol p, Device.Security start) throws Exception {
        while (true) {
            SecurityProvider security = start.start();
            ProvisioningDeviceClient client = ProvisioningDeviceClient.create(Case.hub("dps"), Case.hub("scope"), p, security);
            try {
                return new Registered(client.registerDeviceSync(REGISTER_SECONDS), security);
            } catch (ProvisioningDeviceClientException e) {
                if (!timedOut(e)) {
                    throw e;
                }
                System.err.println("registers again: " + e);
            } finally {
                client.close();
            }
        }
    }

    private static boolean timedOut(Throwable e) {
        if (e == null || e instanceof TimeoutException) {
            return e != null;
        }
        return String.valueOf(e.getMessage()).startsWith("Timed out waiting for registration") || timedOut(e.getCause());
    }

    /** once has a device register and send. */
    private static ProvisioningDeviceClientRegistrationResult once(Case t, ProvisioningDeviceClientTransportProtocol p, Device device) throws Exception {
        Registered r = register(p, device.security());
        judge(t, device, r.told());
        sends(t, p, device, r.security(), r.told().getIothubUri());
        return r.told();
    }

    /** life takes a device through everything: registered, connected, registered again, disabled, deleted. */
    private static void life(Case t, ProvisioningDeviceClientTransportProtocol p, Device.Make make, int gone) throws Exception {
        Device device = make.make(t);
        ProvisioningDeviceClientRegistrationResult told = once(t, p, device);
        ProvisioningDeviceClientRegistrationResult again = register(p, device.security()).told();
        equal(again.getIothubUri(), told.getIothubUri(), "the hub");
        equal(again.getDeviceId(), told.getDeviceId(), "the device");
        equal(again.getCreatedDateTimeUtc(), told.getCreatedDateTimeUtc(), "the time of creation");
        device.entry().disable();
        refused(p, device.security(), "ProvisioningDeviceHubException"); // all that the SDK tells
        device.entry().remove();
        refused(p, device.security(), overAMQP(p) ? REJECTED : "" + gone);
    }

    private static boolean overAMQP(ProvisioningDeviceClientTransportProtocol p) {
        return p.name().startsWith("AMQP");
    }

    private static String unauthorized(ProvisioningDeviceClientTransportProtocol p) {
        return overAMQP(p) ? REJECTED : "401002";
    }

    /** refused registers; the error has the text in it. */
    private static void refused(ProvisioningDeviceClientTransportProtocol p, Device.Security security, String want) {
        String text = fails(ProvisioningDeviceClientException.class, () -> register(p, security));
        check(text.contains(want), "the error has no " + want + ": " + text);
    }

    private static void wrongKey(Case t, ProvisioningDeviceClientTransportProtocol p) throws Exception {
        Device device = Device.symmetric(t);
        Device strange = Device.byKey(device.id(), device.deviceId(), Base64.getEncoder().encodeToString(new byte[64]), device.entry());
        refused(p, strange.security(), unauthorized(p));
    }

    private static void wrongCertificate(Case t, ProvisioningDeviceClientTransportProtocol p) throws Exception {
        Device device = Device.x509(t);
        SecurityProvider other = Device.security(t.ask("selfSigned", "id", device.id()).getAsJsonObject());
        refused(p, () -> other, unauthorized(p));
    }

    private static void wrongTpm(Case t, ProvisioningDeviceClientTransportProtocol p) throws Exception {
        String id = Device.tpm(t).id();
        int port = t.ask("tpm").getAsInt();
        refused(p, () -> Machine.open(id, port), overAMQP(p) ? REJECTED : NO_CHALLENGE);
    }

    /** judge compares what a device was told with what is at the hub and in the service. */
    private static void judge(Case t, Device device, ProvisioningDeviceClientRegistrationResult told) throws Exception {
        equal(told.getProvisioningDeviceClientStatus(), ProvisioningDeviceClientStatus.PROVISIONING_DEVICE_STATUS_ASSIGNED, "the client's status");
        equal(told.getStatus(), "assigned", "the status");
        equal(told.getSubstatus(), ProvisioningDeviceClientSubstatus.INITIAL_ASSIGNMENT, "the substatus");
        equal(told.getRegistrationId(), device.id(), "the registration");
        equal(told.getDeviceId(), device.deviceId(), "the device");
        check(List.of(Case.hub("host"), Case.hub("second")).contains(told.getIothubUri()), "the hub is " + told.getIothubUri());
        Instant made = Instant.parse(told.getCreatedDateTimeUtc());
        check(!made.isAfter(Instant.parse(told.getLastUpdatesDateTimeUtc())), "updated before it was made");
        DeviceRegistrationState stored = t.service().getDeviceRegistrationState(device.id());
        equal(stored.getEtag(), told.getETag(), "the etag");
        equal(stored.getAssignedHub(), told.getIothubUri(), "the hub that the service stores");
        equal(stored.getDeviceId(), told.getDeviceId(), "the device that the service stores");
        equal(stored.getCreatedDateTimeUtc().toInstant().toEpochMilli(), made.toEpochMilli(), "the time that the service stores");
        JsonObject identity = t.ask("identity", "hub", told.getIothubUri(), "id", device.deviceId()).getAsJsonObject();
        for (var want : device.identity().entrySet()) {
            equal(identity.get(want.getKey()).getAsString(), want.getValue(), want.getKey());
        }
        JsonObject twin = t.ask("twin", "hub", told.getIothubUri(), "id", device.deviceId()).getAsJsonObject();
        equal(twin.getAsJsonObject("tags").get("case").getAsString(), t.name, "the tag");
        JsonObject desired = twin.getAsJsonObject("properties").getAsJsonObject("desired");
        equal(desired.get("testProp").getAsString(), t.name, "the desired property");
    }

    /**
     * twin reads the twin of a device. When an answer comes, one thread of this SDK looks up who waits for it, and another one forgets
     * that: if the second is faster (one time in ten over AMQP), the answer is dropped and the call times out. Then the device asks again.
     */
    private static Twin twin(DeviceClient client) throws Exception {
        client.subscribeToDesiredProperties((twin, context) -> {}, null);
        while (true) {
            try {
                return client.getTwin(TWIN_MILLISECONDS);
            } catch (IotHubClientException e) {
                if (e.getStatusCode() != IotHubStatusCode.DEVICE_OPERATION_TIMED_OUT) {
                    throw e;
                }
            }
        }
    }

    /** sends has a device connect to its hub, read its twin and send telemetry, which arrives. */
    private static void sends(Case t, ProvisioningDeviceClientTransportProtocol p, Device device, SecurityProvider security, String host) throws Exception {
        IotHubClientProtocol protocol = IotHubClientProtocol.valueOf(p.name());
        DeviceClient client = new DeviceClient(host, device.deviceId(), security, protocol);
        t.after(client::close);
        client.setRetryPolicy(new NoRetry());
        client.open(false);
        if (protocol != IotHubClientProtocol.HTTPS) {
            equal(twin(client).getDesiredProperties().get("testProp"), t.name, "the desired property that the device reads");
        }
        client.sendEvent(new Message("telemetry"));
        JsonObject event = t.ask("events", "hub", host, "id", device.deviceId(), "n", 1).getAsJsonArray().get(0).getAsJsonObject();
        equal(new String(Base64.getDecoder().decode(event.get("body").getAsString())), "telemetry", "the body");
        client.close();
    }
}
