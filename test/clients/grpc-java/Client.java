import com.google.protobuf.ByteString;
import com.ironflow.kv.v1.GetRequest;
import com.ironflow.kv.v1.KeyValueServiceGrpc;
import com.ironflow.kv.v1.KeyValueServiceGrpc.KeyValueServiceBlockingStub;
import com.ironflow.kv.v1.Precondition;
import com.ironflow.kv.v1.PutRequest;
import com.ironflow.kv.v1.WatchRequest;
import com.ironflow.kv.v1.WatchResponse;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;

/** Calls the service with grpc-java: the arguments are the encoding, the address, an API key, a bucket and a key that it lacks. */
public class Client {
    private static final int TOO_LARGE_BYTES = 2 << 20;
    private static final long DEADLINE_MS = 500;

    public static void main(String[] args) throws Exception {
        String encoding = args[0], target = args[1], apiKey = args[2], bucket = args[3], missingKey = args[4];
        var channel = ManagedChannelBuilder.forTarget(target).usePlaintext().build();
        var headers = new Metadata();
        headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + apiKey);
        var withoutKey = KeyValueServiceGrpc.newBlockingStub(channel).withCompression(encoding);
        var stub = withoutKey.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));

        var get = GetRequest.newBuilder().setBucket(bucket).setKey("k").build();
        var put = PutRequest.newBuilder().setBucket(bucket).setKey("k").setValue(ByteString.copyFromUtf8("Ann")).build();
        System.out.println("put " + (stub.put(put).getRevision() == 1));
        System.out.println("get " + stub.get(get).getEntry().getValue().toStringUtf8());
        var create = put.toBuilder().setPrecondition(Precondition.newBuilder().setIfAbsent(true)).build();
        System.out.println("conflict " + refusal(() -> stub.put(create)).getCode());
        var large = put.toBuilder().setValue(ByteString.copyFrom(new byte[TOO_LARGE_BYTES])).build();
        System.out.println("too large " + refusal(() -> stub.put(large)).getCode());
        var missing = get.toBuilder().setKey(missingKey).build();
        System.out.println("missing " + refusal(() -> stub.get(missing)).getDescription());
        System.out.println("without key " + refusal(() -> withoutKey.get(get)).getCode());

        System.out.println("watch " + firstKey(watch(stub, bucket)));
        var limited = watch(stub.withDeadlineAfter(DEADLINE_MS, TimeUnit.MILLISECONDS), bucket);
        System.out.println("deadline " + refusal(() -> limited.forEachRemaining(event -> {})).getCode());
        channel.shutdownNow().awaitTermination(1, TimeUnit.MINUTES);
    }

    private static Iterator<WatchResponse> watch(KeyValueServiceBlockingStub stub, String bucket) {
        return stub.watch(WatchRequest.newBuilder().setBucket(bucket).build());
    }

    private static String firstKey(Iterator<WatchResponse> events) {
        var event = events.next();
        while (!event.hasChange()) event = events.next();
        return event.getChange().getEntry().getKey();
    }

    private static Status refusal(Runnable call) {
        try {
            call.run();
            return Status.OK;
        } catch (StatusRuntimeException error) {
            return error.getStatus();
        }
    }
}
