import java.lang.reflect.Constructor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/**
 * One OpenSearch 3.x cluster of a single node, the server as a library, over plain HTTP.
 * args: FOLDER [key=value ...]; the folder holds the data, the pairs are settings.
 *
 * By reflection: the server's classes are for Java 21, which whoever compiles this need not have.
 */
public class SearchNode {
    private static final String[] PLUGINS = {
        "org.opensearch.transport.Netty4ModulePlugin", "org.opensearch.index.reindex.ReindexModulePlugin",
    };

    public static void main(String[] args) throws Exception {
        Path base = Paths.get(args[0]);
        Path config = Files.createDirectories(base.resolve("config"));
        Map<String, String> settings = new LinkedHashMap<>(Map.of(
            "path.home", base.toString(), "path.data", base.resolve("data").toString(), "path.logs", base.resolve("logs").toString(),
            "network.host", "0.0.0.0", "discovery.type", "single-node", "node.store.allow_mmap", "false"));
        for (int i = 1; i < args.length; i++) {
            int equals = args[i].indexOf('=');
            settings.put(args[i].substring(0, equals), args[i].substring(equals + 1));
        }
        Object environment = environment(settings, config);
        Class<?> node = Class.forName("org.opensearch.node.Node");
        Constructor<?> constructor = node.getDeclaredConstructor(environment.getClass(), Collection.class, boolean.class);
        constructor.setAccessible(true);
        Object running = constructor.newInstance(environment, plugins(), false);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try { ((AutoCloseable) running).close(); } catch (Exception e) { e.printStackTrace(); }
        }));
        node.getMethod("start").invoke(running);
        new CountDownLatch(1).await();
    }

    private static Object environment(Map<String, String> settings, Path config) throws Exception {
        Class<?> type = Class.forName("org.opensearch.common.settings.Settings");
        Object builder = type.getMethod("builder").invoke(null);
        for (Map.Entry<String, String> setting : settings.entrySet()) {
            builder.getClass().getMethod("put", String.class, String.class).invoke(builder, setting.getKey(), setting.getValue());
        }
        Object built = builder.getClass().getMethod("build").invoke(builder);
        return Class.forName("org.opensearch.env.Environment").getConstructor(type, Path.class).newInstance(built, config);
    }

    private static List<Object> plugins() throws Exception {
        Class<?> version = Class.forName("org.opensearch.Version");
        Constructor<?> info = Class.forName("org.opensearch.plugins.PluginInfo").getConstructor(
            String.class, String.class, String.class, version, String.class, String.class, String.class, List.class, boolean.class);
        List<Object> plugins = new ArrayList<>();
        for (String name : PLUGINS) {
            Object current = version.getField("CURRENT").get(null);
            plugins.add(info.newInstance(name, "classpath", "NA", current, "21", name, null, List.of(), false));
        }
        return plugins;
    }
}
