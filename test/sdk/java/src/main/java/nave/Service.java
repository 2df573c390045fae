package nave;

import static nave.Case.check;
import static nave.Case.equal;
import static nave.Case.fails;

import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientTransportProtocol;
import com.microsoft.azure.sdk.iot.provisioning.service.ProvisioningServiceClient;
import com.microsoft.azure.sdk.iot.provisioning.service.Query;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.AllocationPolicy;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.Attestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.BulkEnrollmentOperationResult;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.BulkOperationMode;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.CustomAllocationDefinition;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.DeviceCapabilities;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.DeviceRegistrationState;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.EnrollmentGroup;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.IndividualEnrollment;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.ProvisioningStatus;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.QueryResult;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.QuerySpecification;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.QuerySpecificationBuilder;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.ReprovisionPolicy;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.SymmetricKeyAttestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TpmAttestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.X509Attestation;
import com.microsoft.azure.sdk.iot.provisioning.service.exceptions.ProvisioningServiceClientBadUsageException;
import com.microsoft.azure.sdk.iot.provisioning.service.exceptions.ProvisioningServiceClientNotFoundException;
import com.microsoft.azure.sdk.iot.provisioning.service.exceptions.ProvisioningServiceClientPreconditionFailedException;
import com.microsoft.azure.sdk.iot.provisioning.service.exceptions.ProvisioningServiceClientUnathorizedException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Map;

/** Service is the client of the provisioning service. */
final class Service {
    private static final String STRANGE_ETAG = "\"other\"";
    private static final String WEBHOOK = "https://www.microsoft.com";

    private Service() {}

    static void add(Map<String, Driver.Body> cases) {
        cases.put("DPS-283 individual enrolment, symmetric key", Service::individualKey);
        cases.put("DPS-283 individual enrolment, X.509", Service::individualCertificate);
        cases.put("DPS-283 individual enrolment, TPM, custom allocation", Service::individualTpm);
        cases.put("DPS-283 enrolment group, symmetric key, Edge", Service::groupKey);
        cases.put("DPS-283 enrolment group, X.509", Service::groupCertificate);
        cases.put("DPS-283 query in pages", Service::query);
        cases.put("DPS-283 query of groups in pages", Service::queryGroups);
        cases.put("DPS-283 bulk", Service::bulk);
        cases.put("DPS-283 registration states", Service::states);
        cases.put("DPS-283 wrong key of the policy", Service::wrongKey);
    }

    private static void individualKey(Case t) throws Exception {
        ReprovisionPolicy policy = new ReprovisionPolicy();
        policy.setMigrateDeviceData(true);
        policy.setUpdateHubAssignment(true);
        IndividualEnrollment e = individual(t, new SymmetricKeyAttestation("", ""), (made) -> {
            made.setAllocationPolicy(AllocationPolicy.HASHED);
            made.setReprovisionPolicy(policy);
        });
        equal(e.getAllocationPolicy(), AllocationPolicy.HASHED, "the policy");
        check(e.getReprovisionPolicy().getMigrateDeviceData() && e.getReprovisionPolicy().getUpdateHubAssignment(), "the policy is lost");
    }

    private static void individualCertificate(Case t) throws Exception {
        String cert = t.ask("selfSigned", "id", t.id()).getAsJsonObject().get("cert").getAsString();
        individual(t, X509Attestation.createFromClientCertificates(cert), (made) -> {});
    }

    private static void individualTpm(Case t) throws Exception {
        String endorsement = Base64.getEncoder().encodeToString(Device.machine(t, t.id()).getEndorsementKey());
        CustomAllocationDefinition webhook = new CustomAllocationDefinition();
        webhook.setWebhookUrl(WEBHOOK);
        webhook.setApiVersion("2019-03-31");
        IndividualEnrollment e = individual(t, new TpmAttestation(endorsement), (made) -> {
            made.setAllocationPolicy(AllocationPolicy.CUSTOM);
            made.setCustomAllocationDefinition(webhook);
            made.setCapabilities(edge());
        });
        equal(e.getCustomAllocationDefinition().getWebhookUrl(), WEBHOOK, "the webhook");
        equal(e.getCustomAllocationDefinition().getApiVersion(), "2019-03-31", "the webhook's version");
        equal(e.getCapabilities().isIotEdge(), true, "the capability");
    }

    /** Change sets what an enrolment has besides its id and attestation. */
    private interface Change<T> {
        void on(T e);
    }

    /** individual creates, updates, reads and deletes an enrolment and returns what was read. */
    private static IndividualEnrollment individual(Case t, Attestation attestation, Change<IndividualEnrollment> change) throws Exception {
        ProvisioningServiceClient s = t.service();
        String id = t.id();
        IndividualEnrollment wanted = new IndividualEnrollment(id, attestation);
        wanted.setDeviceId(id + "-device");
        wanted.setInitialTwin(Device.twin(t));
        change.on(wanted);
        IndividualEnrollment made = s.createOrUpdateIndividualEnrollment(wanted);
        equal(made.getRegistrationId(), id, "the id");
        equal(made.getDeviceId(), id + "-device", "the device");
        equal(made.getProvisioningStatus(), ProvisioningStatus.ENABLED, "the status");
        equal(made.getInitialTwin().getDesiredProperties().get("testProp"), t.name, "the property");
        check(made.getEtag() != null && made.getCreatedDateTimeUtc() != null && made.getLastUpdatedDateTimeUtc() != null, "etag or times are missing");
        String first = made.getEtag();
        made.setProvisioningStatus(ProvisioningStatus.DISABLED);
        IndividualEnrollment disabled = s.createOrUpdateIndividualEnrollment(made);
        equal(disabled.getProvisioningStatus(), ProvisioningStatus.DISABLED, "the status");
        check(!disabled.getEtag().equals(first), "the etag did not change");
        made.setEtag(first);
        fails(ProvisioningServiceClientPreconditionFailedException.class, () -> s.createOrUpdateIndividualEnrollment(made));
        IndividualEnrollment read = s.getIndividualEnrollment(id);
        equal(read.getEtag(), disabled.getEtag(), "the etag");
        judge(s.getIndividualEnrollmentAttestationMechanism(id).getAttestation(), attestation, disabled.getAttestation());
        fails(ProvisioningServiceClientPreconditionFailedException.class, () -> {
            s.deleteIndividualEnrollment(id, STRANGE_ETAG);
            return null;
        });
        s.deleteIndividualEnrollment(read);
        fails(ProvisioningServiceClientNotFoundException.class, () -> s.getIndividualEnrollment(id));
        return read;
    }

    /** judge compares what the service tells of an attestation with what was wanted and with what the last change returned. */
    private static void judge(Attestation mechanism, Attestation wanted, Attestation changed) {
        if (mechanism instanceof SymmetricKeyAttestation k) {
            equal(Base64.getDecoder().decode(k.getPrimaryKey()).length, 64, "the length of the key");
            equal(k.getPrimaryKey(), ((SymmetricKeyAttestation) changed).getPrimaryKey(), "the primary key");
            equal(k.getSecondaryKey(), ((SymmetricKeyAttestation) changed).getSecondaryKey(), "the secondary key");
        } else if (mechanism instanceof TpmAttestation k) {
            equal(k.getEndorsementKey(), ((TpmAttestation) wanted).getEndorsementKey(), "the endorsement key");
        } else {
            check(((X509Attestation) mechanism).getPrimaryX509CertificateInfo().getSha256Thumbprint().length() == 64, "the thumbprint is missing");
        }
    }

    private static void groupKey(Case t) throws Exception {
        EnrollmentGroup g = group(t, new SymmetricKeyAttestation("", ""), (made) -> {
            made.setCapabilities(edge());
            made.setAllocationPolicy(AllocationPolicy.STATIC);
            made.setIotHubs(new ArrayList<>(List.of(Case.hub("second"))));
        });
        equal(g.getCapabilities().isIotEdge(), true, "the capability");
        equal(new ArrayList<>(g.getIotHubs()), List.of(Case.hub("second")), "the hubs");
    }

    private static void groupCertificate(Case t) throws Exception {
        String root = t.ask("authority", "id", t.id()).getAsString();
        EnrollmentGroup g = group(t, X509Attestation.createFromRootCertificates(root), (made) -> made.setAllocationPolicy(AllocationPolicy.GEOLATENCY));
        equal(g.getAllocationPolicy(), AllocationPolicy.GEOLATENCY, "the policy");
    }

    private static EnrollmentGroup group(Case t, Attestation attestation, Change<EnrollmentGroup> change) throws Exception {
        ProvisioningServiceClient s = t.service();
        String id = t.id();
        EnrollmentGroup wanted = new EnrollmentGroup(id, attestation);
        wanted.setInitialTwin(Device.twin(t));
        change.on(wanted);
        EnrollmentGroup made = s.createOrUpdateEnrollmentGroup(wanted);
        equal(made.getEnrollmentGroupId(), id, "the id");
        equal(made.getProvisioningStatus(), ProvisioningStatus.ENABLED, "the status");
        check(made.getEtag() != null && made.getCreatedDateTimeUtc() != null, "etag or time are missing");
        String first = made.getEtag();
        made.setProvisioningStatus(ProvisioningStatus.DISABLED);
        EnrollmentGroup disabled = s.createOrUpdateEnrollmentGroup(made);
        check(!disabled.getEtag().equals(first), "the etag did not change");
        made.setEtag(first);
        fails(ProvisioningServiceClientPreconditionFailedException.class, () -> s.createOrUpdateEnrollmentGroup(made));
        EnrollmentGroup read = s.getEnrollmentGroup(id);
        equal(read.getProvisioningStatus(), ProvisioningStatus.DISABLED, "the status");
        judge(s.getEnrollmentGroupAttestationMechanism(id).getAttestation(), attestation, disabled.getAttestation());
        fails(ProvisioningServiceClientPreconditionFailedException.class, () -> {
            s.deleteEnrollmentGroup(id, STRANGE_ETAG);
            return null;
        });
        s.deleteEnrollmentGroup(id, read.getEtag());
        fails(ProvisioningServiceClientNotFoundException.class, () -> s.getEnrollmentGroup(id));
        return read;
    }

    private static DeviceCapabilities edge() {
        DeviceCapabilities c = new DeviceCapabilities();
        c.setIotEdge(true);
        return c;
    }

    private static void query(Case t) throws Exception {
        ProvisioningServiceClient s = t.service();
        List<IndividualEnrollment> made = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            made.add(s.createOrUpdateIndividualEnrollment(new IndividualEnrollment(t.id(), new SymmetricKeyAttestation("", ""))));
        }
        QuerySpecification all = new QuerySpecificationBuilder("*", QuerySpecificationBuilder.FromType.ENROLLMENTS).createSqlQuery();
        List<Object> found = new ArrayList<>();
        check(pages(s.createIndividualEnrollmentQuery(all, 5), 5, found) >= 3, "fewer than three pages");
        List<String> ids = found.stream().map((e) -> ((IndividualEnrollment) e).getRegistrationId()).toList();
        equal(new HashSet<>(ids).size(), ids.size(), "the number of different ids");
        check(ids.containsAll(made.stream().map(IndividualEnrollment::getRegistrationId).toList()), "not all are found");
        Query again = s.createIndividualEnrollmentQuery(all, 5);
        QueryResult first = again.next();
        Query other = s.createIndividualEnrollmentQuery(all, 5);
        QueryResult second = other.next(first.getContinuationToken());
        check(!((IndividualEnrollment) second.getItems()[0]).getRegistrationId().equals(((IndividualEnrollment) first.getItems()[0]).getRegistrationId()),
            "the token starts anew");
        List<Object> one = new ArrayList<>();
        pages(s.createIndividualEnrollmentQuery(new QuerySpecification("SELECT * FROM enrollments WHERE registrationId = '" + ids.get(4) + "'")), 1, one);
        equal(one.size(), 1, "the number of finds");
        equal(((IndividualEnrollment) one.get(0)).getRegistrationId(), ids.get(4), "the find");
        for (IndividualEnrollment e : made) {
            s.deleteIndividualEnrollment(e);
        }
    }

    private static void queryGroups(Case t) throws Exception {
        ProvisioningServiceClient s = t.service();
        List<String> ids = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            ids.add(s.createOrUpdateEnrollmentGroup(new EnrollmentGroup(t.id(), new SymmetricKeyAttestation("", ""))).getEnrollmentGroupId());
        }
        QuerySpecification all = new QuerySpecificationBuilder("*", QuerySpecificationBuilder.FromType.ENROLLMENT_GROUPS).createSqlQuery();
        List<Object> found = new ArrayList<>();
        check(pages(s.createEnrollmentGroupQuery(all, 2), 2, found) >= 3, "fewer than three pages");
        check(found.stream().map((g) -> ((EnrollmentGroup) g).getEnrollmentGroupId()).toList().containsAll(ids), "not all are found");
        for (String id : ids) {
            s.deleteEnrollmentGroup(id);
        }
    }

    /** pages reads a query to its end and returns the number of pages. */
    private static int pages(Query query, int size, List<Object> found) {
        int n = 0;
        for (; query.hasNext(); n++) {
            Object[] items = query.next().getItems();
            check(items.length <= size, items.length + " on a page");
            found.addAll(List.of(items));
        }
        return n;
    }

    private static void bulk(Case t) throws Exception {
        ProvisioningServiceClient s = t.service();
        List<IndividualEnrollment> all = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            all.add(new IndividualEnrollment(t.id(), new SymmetricKeyAttestation("", "")));
        }
        List<IndividualEnrollment> two = all.subList(0, 2);
        judge(s.runBulkEnrollmentOperation(BulkOperationMode.CREATE, all));
        judge(s.runBulkEnrollmentOperation(BulkOperationMode.CREATE, two), 409201, 409201);
        for (IndividualEnrollment e : all) {
            e.setProvisioningStatus(ProvisioningStatus.DISABLED);
        }
        judge(s.runBulkEnrollmentOperation(BulkOperationMode.UPDATE, all));
        IndividualEnrollment now = s.getIndividualEnrollment(all.get(0).getRegistrationId());
        equal(now.getProvisioningStatus(), ProvisioningStatus.DISABLED, "the status");
        judge(s.runBulkEnrollmentOperation(BulkOperationMode.UPDATE_IF_MATCH_ETAG, List.of(now)));
        judge(s.runBulkEnrollmentOperation(BulkOperationMode.UPDATE_IF_MATCH_ETAG, List.of(now)), 412001);
        judge(s.runBulkEnrollmentOperation(BulkOperationMode.DELETE, all));
        judge(s.runBulkEnrollmentOperation(BulkOperationMode.DELETE, two), 404201, 404201);
    }

    private static void judge(BulkEnrollmentOperationResult result, Integer... codes) {
        equal(result.getSuccessful(), codes.length == 0, "the success of " + result);
        List<Integer> have = new ArrayList<>();
        result.getErrors().forEach((e) -> have.add(e.getErrorCode()));
        equal(have, List.of(codes), "the errors");
    }

    private static void states(Case t) throws Exception {
        ProvisioningServiceClient s = t.service();
        Device device = Device.symmetricGroup(t);
        fails(ProvisioningServiceClientNotFoundException.class, () -> s.getDeviceRegistrationState(device.id()));
        Provision.register(ProvisioningDeviceClientTransportProtocol.HTTPS, device.security());
        DeviceRegistrationState state = s.getDeviceRegistrationState(device.id());
        String group = device.id().replaceAll("-1$", "");
        QuerySpecification all = new QuerySpecificationBuilder("*", QuerySpecificationBuilder.FromType.DEVICE_REGISTRATIONS).createSqlQuery();
        List<Object> found = new ArrayList<>();
        pages(s.createEnrollmentGroupRegistrationStateQuery(all, group, 3), 3, found);
        equal(found.size(), 1, "the number of states");
        equal(((DeviceRegistrationState) found.get(0)).getEtag(), state.getEtag(), "the etag");
        fails(ProvisioningServiceClientPreconditionFailedException.class, () -> {
            s.deleteDeviceRegistrationState(device.id(), STRANGE_ETAG);
            return null;
        });
        s.deleteDeviceRegistrationState(state);
        fails(ProvisioningServiceClientNotFoundException.class, () -> s.getDeviceRegistrationState(device.id()));
    }

    private static void wrongKey(Case t) throws Exception {
        String other = Base64.getEncoder().encodeToString(new byte[64]);
        ProvisioningServiceClient s = new ProvisioningServiceClient(Case.hub("dpsOwner").replaceAll("SharedAccessKey=.*", "SharedAccessKey=" + other));
        fails(ProvisioningServiceClientUnathorizedException.class, () -> s.getIndividualEnrollment("x"));
        fails(ProvisioningServiceClientBadUsageException.class, () -> s.getIndividualEnrollment("x"));
    }
}
