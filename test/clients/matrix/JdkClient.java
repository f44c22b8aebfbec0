import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Writes and reads with java.net.http.HttpClient as it is by default: over plain HTTP it offers an upgrade to h2c, over TLS it speaks HTTP/2.
 * The last argument, if any, is the certificate to trust.
 */
public class JdkClient {
    public static void main(String[] args) throws Exception {
        var client = args.length < 4 ? HttpClient.newHttpClient() : HttpClient.newBuilder().sslContext(trust(args[3])).build();
        var key = URI.create(args[0] + "/api/v1/kv/buckets/" + args[2] + "/keys/k");
        var request = HttpRequest.newBuilder(key).header("authorization", "Bearer " + args[1]);
        var text = BodyHandlers.ofString();
        System.out.println("put " + client.send(request.copy().PUT(BodyPublishers.ofString("Ann")).build(), text).statusCode());
        var raw = request.copy().uri(URI.create(key + "?raw=true")).build();
        System.out.println("get " + client.send(raw, text).body());
        var create = request.copy().header("if-none-match", "*").PUT(BodyPublishers.ofString("x")).build();
        System.out.println("conflict " + client.send(create, text).statusCode());
        var large = request.copy().PUT(BodyPublishers.ofByteArray(new byte[2 << 20])).build();
        var refused = client.send(large, text);
        System.out.println("too large " + refused.statusCode() + (refused.body().contains("value_too_large") ? "" : " unread"));
        var withoutKey = client.send(HttpRequest.newBuilder(key).build(), text);
        System.out.println("without key " + withoutKey.statusCode());
        if (args.length > 3) System.out.println(withoutKey.version());
    }

    private static SSLContext trust(String certificate) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (var file = new FileInputStream(certificate)) {
            store.setCertificateEntry("service", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
