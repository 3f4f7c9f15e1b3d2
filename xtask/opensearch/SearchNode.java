import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;

/**
 * One OpenSearch 1.x or 2.x cluster of a single node, the server as a library, over plain HTTP.
 * args: FOLDER [key=value ...]; the folder holds the data, the pairs are settings.
 */
public class SearchNode extends Node {
    SearchNode(Environment env, Collection<Class<? extends Plugin>> plugins) { super(env, plugins, false); }

    public static void main(String[] args) throws Exception {
        Path base = Paths.get(args[0]);
        Files.createDirectories(base.resolve("config"));
        Settings.Builder s = Settings.builder()
            .put("path.home", base.toString()).put("path.data", base.resolve("data").toString()).put("path.logs", base.resolve("logs").toString())
            .put("network.host", "0.0.0.0").put("discovery.type", "single-node").put("node.store.allow_mmap", false);
        for (int i = 1; i < args.length; i++) {
            int equals = args[i].indexOf('=');
            s.put(args[i].substring(0, equals), args[i].substring(equals + 1));
        }
        Node node = new SearchNode(new Environment(s.build(), base.resolve("config")), List.of(
            org.opensearch.transport.Netty4Plugin.class,
            org.opensearch.index.reindex.ReindexPlugin.class));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { try { node.close(); } catch (Exception e) { e.printStackTrace(); } }));
        node.start();
        new CountDownLatch(1).await();
    }
}
