package nave;

import com.google.gson.JsonObject;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProvider;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProviderSymmetricKey;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProviderTpm;
import com.microsoft.azure.sdk.iot.provisioning.security.hsm.SecurityProviderX509Cert;
import com.microsoft.azure.sdk.iot.provisioning.service.ProvisioningServiceClient;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.Attestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.EnrollmentGroup;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.IndividualEnrollment;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.ProvisioningStatus;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.SymmetricKeyAttestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TpmAttestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TwinCollection;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TwinState;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.X509Attestation;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/**
 * Device is enrolled, individually or as the member of a group, and proves itself with security. The hub has identity of it once it
 * is provisioned.
 */
record Device(String id, String deviceId, Security security, Map<String, String> identity, Entry entry) {
    /** Make enrols a new device. */
    interface Make {
        Device make(Case t) throws Exception;
    }

    /** Security gives what the device proves itself with, after a start of its own. */
    interface Security {
        SecurityProvider start() throws Exception;
    }

    /** Entry is a device's enrolment. */
    interface Entry {
        void disable() throws Exception;

        void remove() throws Exception;
    }

    static Device symmetric(Case t) throws Exception {
        String id = t.id();
        IndividualEnrollment made = individual(t, id, new SymmetricKeyAttestation("", ""));
        String key = ((SymmetricKeyAttestation) made.getAttestation()).getPrimaryKey();
        return byKey(id, made.getDeviceId(), key, one(t, id));
    }

    static Device symmetricGroup(Case t) throws Exception {
        String group = t.id();
        String id = group + "-1";
        EnrollmentGroup made = group(t, group, new SymmetricKeyAttestation("", ""));
        byte[] key = ((SymmetricKeyAttestation) made.getAttestation()).getPrimaryKey().getBytes(StandardCharsets.UTF_8);
        byte[] derived = SecurityProviderSymmetricKey.ComputeDerivedSymmetricKey(key, id);
        return byKey(id, id, new String(derived, StandardCharsets.UTF_8), many(t, group));
    }

    static Device byKey(String id, String deviceId, String key, Entry entry) {
        return new Device(id, deviceId, () -> new SecurityProviderSymmetricKey(key.getBytes(StandardCharsets.UTF_8), id),
            Map.of("auth", "sas", "key", key), entry);
    }

    static Device x509(Case t) throws Exception {
        String id = t.id();
        JsonObject made = t.ask("selfSigned", "id", id).getAsJsonObject();
        IndividualEnrollment e = individual(t, id, X509Attestation.createFromClientCertificates(made.get("cert").getAsString()));
        return byCertificate(id, e.getDeviceId(), made, one(t, id));
    }

    /** x509Group is a device two intermediate authorities below the root that its group trusts. */
    static Device x509Group(Case t) throws Exception {
        String group = t.id();
        String root = t.ask("authority", "id", group).getAsString();
        JsonObject made = t.ask("leaf", "root", group, "id", group + "-1", "between", 2).getAsJsonObject();
        group(t, group, X509Attestation.createFromRootCertificates(root));
        return byCertificate(group + "-1", group + "-1", made, many(t, group));
    }

    /** x509Below is a device whose group trusts an intermediate authority below an uploaded root. */
    static Device x509Below(Case t) throws Exception {
        String group = t.id();
        t.ask("authority", "id", group);
        JsonObject made = t.ask("leaf", "root", group, "id", group + "-1", "between", 1).getAsJsonObject();
        group(t, group, X509Attestation.createFromRootCertificates(made.get("signer").getAsString()));
        return byCertificate(group + "-1", group + "-1", made, many(t, group));
    }

    static Device byCertificate(String id, String deviceId, JsonObject made, Entry entry) throws Exception {
        SecurityProvider security = security(made);
        MessageDigest sha = MessageDigest.getInstance("SHA-1");
        byte[] sum = sha.digest(((SecurityProviderX509Cert) security).getClientCertificate().getEncoded());
        return new Device(id, deviceId, () -> security, Map.of("auth", "selfSigned", "thumbprint", HexFormat.of().withUpperCase().formatHex(sum)), entry);
    }

    static SecurityProvider security(JsonObject made) throws Exception {
        byte[] pem = made.get("cert").getAsString().getBytes(StandardCharsets.UTF_8);
        List<X509Certificate> chain = new ArrayList<>();
        CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem)).forEach((c) -> chain.add((X509Certificate) c));
        byte[] der = Base64.getMimeDecoder().decode(made.get("key").getAsString().replaceAll("-----.*-----", ""));
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der));
        return new SecurityProviderX509Cert(chain.get(0), key, chain.subList(1, chain.size()));
    }

    static Device tpm(Case t) throws Exception {
        String id = t.id();
        int port = t.ask("tpm").getAsInt();
        String endorsement = Base64.getEncoder().encodeToString(Machine.open(id, port).getEndorsementKey());
        IndividualEnrollment made = individual(t, id, new TpmAttestation(endorsement));
        return new Device(id, made.getDeviceId(), () -> Machine.open(id, port), Map.of("auth", "sas"), one(t, id));
    }

    /** machine returns a TPM of the case's own. */
    static SecurityProviderTpm machine(Case t, String id) throws Exception {
        return Machine.open(id, t.ask("tpm").getAsInt());
    }

    static TwinState twin(Case t) {
        TwinCollection tags = new TwinCollection();
        tags.put("case", t.name);
        TwinCollection desired = new TwinCollection();
        desired.put("testProp", t.name);
        return new TwinState(tags, desired);
    }

    private static IndividualEnrollment individual(Case t, String id, Attestation attestation) throws Exception {
        IndividualEnrollment e = new IndividualEnrollment(id, attestation);
        e.setDeviceId(id + "-device");
        e.setInitialTwin(twin(t));
        return t.service().createOrUpdateIndividualEnrollment(e);
    }

    private static EnrollmentGroup group(Case t, String id, Attestation attestation) throws Exception {
        EnrollmentGroup g = new EnrollmentGroup(id, attestation);
        g.setInitialTwin(twin(t));
        return t.service().createOrUpdateEnrollmentGroup(g);
    }

    private static Entry one(Case t, String id) {
        ProvisioningServiceClient service = t.service();
        return new Entry() {
            public void disable() throws Exception {
                IndividualEnrollment e = service.getIndividualEnrollment(id);
                e.setProvisioningStatus(ProvisioningStatus.DISABLED);
                service.createOrUpdateIndividualEnrollment(e);
            }

            public void remove() throws Exception {
                service.deleteIndividualEnrollment(id);
            }
        };
    }

    private static Entry many(Case t, String id) {
        ProvisioningServiceClient service = t.service();
        return new Entry() {
            public void disable() throws Exception {
                EnrollmentGroup g = service.getEnrollmentGroup(id);
                g.setProvisioningStatus(ProvisioningStatus.DISABLED);
                service.createOrUpdateEnrollmentGroup(g);
            }

            public void remove() throws Exception {
                service.deleteEnrollmentGroup(id);
            }
        };
    }
}
