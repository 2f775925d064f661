import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.KeeperException;

/**
 * Creates znodes below PATH one after the other until its standard input ends, through any of SERVERS, with SESSION_MS of session timeout.  Prints
 * "ACK n" when znode n is acknowledged, "LOST" when a session is, and "SESSION id" for each that it gets.
 */
public class Load {
    private static final long PAUSE_MS = 2;

    public static void main(String[] args) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(args[0])
            .sessionTimeoutMs(Integer.parseInt(args[2])).connectionTimeoutMs(2000).retryPolicy(new RetryForever(10)).build();
        client.getConnectionStateListenable().addListener((from, state) -> {
            if (state == ConnectionState.LOST) say("LOST");
            else if (state.isConnected()) say("SESSION " + session(client));
        });
        client.start();
        client.blockUntilConnected(60, TimeUnit.SECONDS);
        Thread writer = new Thread(() -> write(client, args[1]));
        writer.setDaemon(true);
        writer.start();
        while (System.in.read() >= 0) continue;
        System.exit(0);
    }

    private static void write(CuratorFramework client, String root) {
        for (int number = 0;; number++) {
            String path = String.format("%s/n%08d", root, number);
            for (boolean done = false; !done;) {
                try {
                    client.create().forPath(path, new byte[100]);
                    done = true;
                } catch (KeeperException.NodeExistsException exists) {
                    done = true;        // by a try of this loop whose answer was lost
                } catch (Exception again) {
                    pause();
                }
            }
            say("ACK " + number);
            pause();
        }
    }

    private static String session(CuratorFramework client) {
        try {
            return Long.toHexString(client.getZookeeperClient().getZooKeeper().getSessionId());
        } catch (Exception none) {
            return "none";
        }
    }

    private static void pause() {
        try {
            Thread.sleep(PAUSE_MS);
        } catch (InterruptedException end) {
            Thread.currentThread().interrupt();
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
