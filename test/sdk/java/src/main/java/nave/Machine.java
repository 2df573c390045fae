package nave;

import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProviderTpm;
import com.microsoft.azure.sdk.iot.provisioning.security.exceptions.SecurityProviderException;
import com.microsoft.azure.sdk.iot.provisioning.security.hsm.SecurityProviderTPMHsm;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.net.Socket;
import sun.misc.Unsafe;
import tss.Tpm;
import tss.TpmDevice;
import tss.TpmDeviceTcp;
import tss.tpm.TPMT_PUBLIC;
import tss.tpm.TPM_HANDLE;
import tss.tpm.TPM_RH;
import tss.tpm.TPM_SU;

/**
 * Machine is a device's TPM: the SDK's provider for TPMs, used by one thread of this process at a time, to which neither the provider
 * nor TSS.Java see although the device client signs on several. It is made without its constructor, which opens the TPM of this very
 * machine, the one thing that a test must not touch. What the constructor does besides is done here; all else is the provider's own.
 */
final class Machine extends SecurityProviderTpm {
    private static final Class<?> PROVIDER = SecurityProviderTPMHsm.class;

    // Signals of the simulator's protocol.
    private static final int POWER_ON = 1;
    private static final int POWER_OFF = 2;

    private final SecurityProviderTpm provider;

    private Machine(SecurityProviderTpm provider) {
        this.provider = provider;
    }

    @Override
    public byte[] activateIdentityKey(byte[] key) throws SecurityProviderException {
        return alone(() -> provider.activateIdentityKey(key));
    }

    @Override
    public byte[] getEndorsementKey() throws SecurityProviderException {
        return alone(() -> provider.getEndorsementKey());
    }

    @Override
    public byte[] getStorageRootKey() throws SecurityProviderException {
        return alone(() -> provider.getStorageRootKey());
    }

    @Override
    public byte[] signWithIdentity(byte[] data) throws SecurityProviderException {
        return alone(() -> provider.signWithIdentity(data));
    }

    @Override
    public String getRegistrationId() throws SecurityProviderException {
        return provider.getRegistrationId();
    }

    /** Use is something that a TPM does. */
    private interface Use {
        byte[] run() throws SecurityProviderException;
    }

    /** alone has no other thread use a TPM. An unchecked exception would end the SDK's thread without a word. */
    private static byte[] alone(Use use) throws SecurityProviderException {
        synchronized (PROVIDER) {
            try {
                return use.run();
            } catch (RuntimeException e) {
                throw new SecurityProviderException(e);
            }
        }
    }

    /** open returns a provider on the software TPM that has its commands on the port. */
    static SecurityProviderTpm open(String id, int port) throws Exception {
        synchronized (PROVIDER) {
            return new Machine(make(id, port));
        }
    }

    private static SecurityProviderTpm make(String id, int port) throws Exception {
        Tpm tpm = new Tpm();
        TpmDevice device = new TpmDeviceTcp("127.0.0.1", port);
        if (!device.connect()) {
            throw new IllegalStateException("no TPM on port " + port);
        }
        powerCycle(port + 1);
        tpm._setDevice(device);
        tpm.Startup(TPM_SU.CLEAR);
        Field unsafe = Unsafe.class.getDeclaredField("theUnsafe");
        unsafe.setAccessible(true);
        SecurityProviderTpm made = (SecurityProviderTpm) ((Unsafe) unsafe.get(null)).allocateInstance(PROVIDER);
        field("tpm").set(made, tpm);
        field("registrationId").set(made, id);
        field("ekPublic").set(made, primary(made, tpm, "EK"));
        field("srkPublic").set(made, primary(made, tpm, "SRK"));
        return made;
    }

    /** powerCycle does what TSS.Java's method of this name does, except that it awaits the answer to the last signal. */
    private static void powerCycle(int port) throws IOException {
        try (Socket platform = new Socket("127.0.0.1", port)) {
            for (int signal : new int[] {POWER_OFF, POWER_ON}) {
                new DataOutputStream(platform.getOutputStream()).writeInt(signal);
                new DataInputStream(platform.getInputStream()).readInt();
            }
        }
    }

    private static Object primary(Object made, Tpm tpm, String name) throws Exception {
        Method create = PROVIDER.getDeclaredMethod("createPersistentPrimary", Tpm.class, TPM_HANDLE.class, TPM_RH.class, TPMT_PUBLIC.class, String.class);
        create.setAccessible(true);
        return create.invoke(made, tpm, field(name + "_PERSISTENT_HANDLE").get(null), TPM_RH.OWNER, field(name + "_TEMPLATE").get(null), name);
    }

    private static Field field(String name) throws Exception {
        Field f = PROVIDER.getDeclaredField(name);
        f.setAccessible(true);
        return f;
    }
}
