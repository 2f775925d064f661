import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorOp;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Stat;

/**
 * Do Curator's recipes see the same on both servers?  Two clients go through them against the server given as HOST:PORT.  The transcript has no
 * times, zxids or session ids, so that two servers can be compared.
 */
public class Recipes {
    private static final int SECONDS_MAX = 20;
    private static String server;
    private static CuratorFramework one;
    private static CuratorFramework two;
    private static final ExecutorService pool = Executors.newCachedThreadPool();

    private interface Recipe {
        void run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        server = args[0];
        one = connect();
        two = connect();
        section("basics", Recipes::basics);
        section("transactions", Recipes::transactions);
        section("mutex", Recipes::mutex);
        section("read-write lock", Recipes::readWriteLock);
        section("semaphore", Recipes::semaphore);
        section("multi lock", Recipes::multiLock);
        section("leader latch", Recipes::leaderLatch);
        section("leader selector", Recipes::leaderSelector);
        section("queues", Recipes::queues);
        section("barriers", Recipes::barriers);
        section("counters", Recipes::counters);
        section("caches", Recipes::caches);
        section("persistent watcher", Recipes::persistentWatcher);
        section("persistent nodes", Recipes::persistentNodes);
        section("broken connection", Recipes::brokenConnection);
        section("lost session", Recipes::lostSession);
        section("containers and ttls", Recipes::containers);
        one.close();
        two.close();
        pool.shutdownNow();
        System.exit(0);
    }

    private static CuratorFramework connect() throws Exception {
        return connect(server);
    }

    private static CuratorFramework connect(String to) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(to).sessionTimeoutMs(20000)
            .connectionTimeoutMs(10000).retryPolicy(new RetryOneTime(500)).build();
        client.start();
        if (!client.blockUntilConnected(SECONDS_MAX, TimeUnit.SECONDS)) say("MISSING: connection");
        return client;
    }

    private static void section(String name, Recipe recipe) throws Exception {
        say("== " + name);
        recipe.run();
    }

    private static void say(String line) {
        System.out.println(line);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] data) {
        return data == null ? "null" : new String(data, StandardCharsets.UTF_8);
    }

    /** Fails loudly at the deadline, by a line that the runner looks for. */
    private static void await(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS_MAX);
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                say("MISSING: " + what);
                return;
            }
            Thread.sleep(5);
        }
        say(what);
    }

    private static void await(String what, CountDownLatch latch) throws Exception {
        await(what, () -> latch.await(SECONDS_MAX, TimeUnit.SECONDS));
    }

    private static String code(Recipe recipe) throws Exception {
        try {
            recipe.run();
            return "ok";
        } catch (KeeperException e) {
            return e.code().toString();
        }
    }

    private static void basics() throws Exception {
        say(one.create().creatingParentsIfNeeded().forPath("/b/x/y", bytes("data")));
        say(one.create().creatingParentContainersIfNeeded().forPath("/b/containers/y"));
        String path = one.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/b/p-");
        say(path.replaceAll("_c_[0-9a-f-]+-", "_c_GUID-"));
        Stat stat = new Stat();
        say(text(two.getData().storingStatIn(stat).forPath("/b/x/y")) + " version " + stat.getVersion());
        say("version " + two.setData().withVersion(0).forPath("/b/x/y", bytes("more")).getVersion());
        say("bad version: " + code(() -> two.setData().withVersion(0).forPath("/b/x/y", bytes("more"))));
        say("exists: " + (one.checkExists().forPath("/b/none") == null));
        say("set ACL: " + one.setACL().withACL(ZooDefs.Ids.READ_ACL_UNSAFE).forPath("/b/x/y").getAversion());
        say("refused: " + code(() -> two.setData().forPath("/b/x/y", bytes("no"))));
        List<ACL> acl = one.getACL().forPath("/b/x/y");
        say("acl " + acl.get(0).getPerms() + " " + acl.get(0).getId().getScheme() + " of " + acl.size());
        say("ttl: " + code(() -> one.create().withTtl(100000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/b/ttl")));
        one.sync().forPath("/b");
        say("ephemerals " + one.getZookeeperClient().getZooKeeper().getEphemerals().size());
        say("all children " + one.getZookeeperClient().getZooKeeper().getAllChildrenNumber("/b"));
        say("who am I " + one.getZookeeperClient().getZooKeeper().whoAmI().size());
        one.delete().guaranteed().deletingChildrenIfNeeded().forPath("/b");
        say("not there: " + code(() -> one.delete().forPath("/b")));
        CountDownLatch background = new CountDownLatch(1);
        one.create().inBackground((client, event) -> {
            say("background " + event.getType() + " " + event.getResultCode() + " " + event.getPath());
            background.countDown();
        }).forPath("/background");
        await("background done", background);
    }

    private static void transactions() throws Exception {
        CuratorOp create = one.transactionOp().create().forPath("/t", bytes("1"));
        CuratorOp set = one.transactionOp().setData().withVersion(0).forPath("/t", bytes("2"));
        CuratorOp check = one.transactionOp().check().withVersion(1).forPath("/t");
        CuratorOp below = one.transactionOp().create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/t/s-");
        for (CuratorTransactionResult result : one.transaction().forOperations(create, set, check, below)) {
            say(result.getType() + " " + result.getForPath() + " " + result.getResultPath());
        }
        CuratorOp delete = one.transactionOp().delete().forPath("/t");
        say("failing: " + code(() -> one.transaction().forOperations(set, delete)));
        say(text(two.getData().forPath("/t")));
    }

    private static void mutex() throws Exception {
        InterProcessMutex mine = new InterProcessMutex(one, "/mutex");
        InterProcessMutex other = new InterProcessMutex(two, "/mutex");
        mine.acquire();
        mine.acquire();
        say("other gets it at once: " + pool.submit(() -> other.acquire(50, TimeUnit.MILLISECONDS)).get());
        Future<Boolean> waiting = pool.submit(() -> {
            boolean got = other.acquire(SECONDS_MAX, TimeUnit.SECONDS);
            other.release();
            return got;
        });
        await("two participants", () -> mine.getParticipantNodes().size() == 2);
        mine.release();
        say("still held: " + mine.isOwnedByCurrentThread());
        mine.release();
        say("other got it: " + waiting.get(SECONDS_MAX, TimeUnit.SECONDS));
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger violations = new AtomicInteger();
        List<Future<?>> workers = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two, one, two)) {
            workers.add(pool.submit(() -> {
                InterProcessMutex lock = new InterProcessMutex(client, "/contended");
                for (int i = 0; i < 10; i++) {
                    lock.acquire();
                    if (inside.incrementAndGet() != 1) violations.incrementAndGet();
                    inside.decrementAndGet();
                    lock.release();
                }
                return null;
            }));
        }
        for (Future<?> worker : workers) worker.get(SECONDS_MAX, TimeUnit.SECONDS);
        say("violations " + violations.get());
        InterProcessSemaphoreMutex plain = new InterProcessSemaphoreMutex(one, "/plain-mutex");
        plain.acquire();
        say("not reentrant: " + plain.acquire(50, TimeUnit.MILLISECONDS));
        plain.release();
    }

    private static void readWriteLock() throws Exception {
        InterProcessReadWriteLock mine = new InterProcessReadWriteLock(one, "/rw");
        InterProcessReadWriteLock other = new InterProcessReadWriteLock(two, "/rw");
        mine.readLock().acquire();
        say("second reader: " + other.readLock().acquire(SECONDS_MAX, TimeUnit.SECONDS));
        other.readLock().release();
        say("writer beside reader: " + other.writeLock().acquire(50, TimeUnit.MILLISECONDS));
        mine.readLock().release();
        say("writer alone: " + other.writeLock().acquire(SECONDS_MAX, TimeUnit.SECONDS));
        say("reader in writer: " + other.readLock().acquire(SECONDS_MAX, TimeUnit.SECONDS));
        other.writeLock().release();
        say("reader after downgrade: " + mine.readLock().acquire(SECONDS_MAX, TimeUnit.SECONDS));
        other.readLock().release();
        mine.readLock().release();
    }

    private static void semaphore() throws Exception {
        InterProcessSemaphoreV2 mine = new InterProcessSemaphoreV2(one, "/semaphore", 3);
        InterProcessSemaphoreV2 other = new InterProcessSemaphoreV2(two, "/semaphore", 3);
        Collection<Lease> leases = mine.acquire(2);
        Lease third = other.acquire(SECONDS_MAX, TimeUnit.SECONDS);
        say("third: " + (third != null));
        say("fourth: " + (other.acquire(50, TimeUnit.MILLISECONDS) != null));
        mine.returnAll(leases);
        say("after return: " + (other.acquire(2, SECONDS_MAX, TimeUnit.SECONDS).size()));
        say("participants " + other.getParticipantNodes().size());
    }

    private static void multiLock() throws Exception {
        InterProcessMultiLock lock = new InterProcessMultiLock(one, List.of("/multi-a", "/multi-b"));
        lock.acquire();
        say("part of it: " + pool.submit(() -> new InterProcessMutex(two, "/multi-b").acquire(50, TimeUnit.MILLISECONDS)).get());
        lock.release();
    }

    private static void leaderLatch() throws Exception {
        LeaderLatch first = new LeaderLatch(one, "/latch", "first");
        LeaderLatch second = new LeaderLatch(two, "/latch", "second");
        first.start();
        await("first leads", first::hasLeadership);
        second.start();
        await("both take part", () -> second.getParticipants().size() == 2);
        say("leader " + second.getLeader().getId());
        first.close();
        await("second leads", second::hasLeadership);
        second.close();
    }

    private static void leaderSelector() throws Exception {
        BlockingQueue<String> leaders = new LinkedBlockingQueue<>();
        List<LeaderSelector> selectors = new ArrayList<>();
        CountDownLatch go = new CountDownLatch(1);
        for (CuratorFramework client : List.of(one, two)) {
            String name = client == one ? "one" : "two";
            LeaderSelector selector = new LeaderSelector(client, "/selector", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework c) throws Exception {
                    leaders.add(name);
                    go.await(SECONDS_MAX, TimeUnit.SECONDS);
                }
            });
            selector.setId(name);
            selector.start();
            selectors.add(selector);
            if (client == one) say("leader " + leaders.poll(SECONDS_MAX, TimeUnit.SECONDS));
        }
        await("both take part", () -> selectors.get(0).getParticipants().size() == 2);
        go.countDown();
        say("leader " + leaders.poll(SECONDS_MAX, TimeUnit.SECONDS));
        for (LeaderSelector selector : selectors) selector.close();
    }

    private static void queues() throws Exception {
        SimpleDistributedQueue simple = new SimpleDistributedQueue(one, "/simple-queue");
        for (int i = 0; i < 5; i++) simple.offer(bytes("item " + i));
        SimpleDistributedQueue reader = new SimpleDistributedQueue(two, "/simple-queue");
        for (int i = 0; i < 5; i++) say(text(reader.poll(SECONDS_MAX, TimeUnit.SECONDS)));
        Future<byte[]> taken = pool.submit(reader::take);
        simple.offer(bytes("late"));
        say(text(taken.get(SECONDS_MAX, TimeUnit.SECONDS)));
        BlockingQueue<String> consumed = new LinkedBlockingQueue<>();
        QueueSerializer<String> serializer = new QueueSerializer<>() {
            public byte[] serialize(String item) {
                return bytes(item);
            }

            public String deserialize(byte[] data) {
                return text(data);
            }
        };
        QueueConsumer<String> consumer = new QueueConsumer<>() {
            public void consumeMessage(String message) {
                consumed.add(message);
            }

            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
        try (DistributedQueue<String> producer = QueueBuilder.builder(one, null, serializer, "/queue").buildQueue();
             DistributedQueue<String> queue = QueueBuilder.builder(two, consumer, serializer, "/queue").lockPath("/queue-locks").buildQueue()) {
            producer.start();
            for (int i = 0; i < 10; i++) producer.put("message " + i);
            producer.flushPuts(SECONDS_MAX, TimeUnit.SECONDS);
            queue.start();
            TreeSet<String> all = new TreeSet<>();
            for (int i = 0; i < 10; i++) all.add(String.valueOf(consumed.poll(SECONDS_MAX, TimeUnit.SECONDS)));
            say(all.toString());
        }
    }

    private static void barriers() throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(one, "/barrier");
        barrier.setBarrier();
        Future<Boolean> through = pool.submit(() -> new DistributedBarrier(two, "/barrier").waitOnBarrier(SECONDS_MAX, TimeUnit.SECONDS));
        say("through at once: " + new DistributedBarrier(two, "/barrier").waitOnBarrier(50, TimeUnit.MILLISECONDS));
        barrier.removeBarrier();
        say("through: " + through.get(SECONDS_MAX, TimeUnit.SECONDS));
        List<Future<Boolean>> members = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two, one)) {
            members.add(pool.submit(() -> {
                DistributedDoubleBarrier both = new DistributedDoubleBarrier(client, "/double-barrier", 3);
                return both.enter(SECONDS_MAX, TimeUnit.SECONDS) && both.leave(SECONDS_MAX, TimeUnit.SECONDS);
            }));
        }
        for (Future<Boolean> member : members) say("entered and left: " + member.get(2 * SECONDS_MAX, TimeUnit.SECONDS));
    }

    private static void counters() throws Exception {
        try (SharedCount mine = new SharedCount(one, "/count", 7); SharedCount other = new SharedCount(two, "/count", 0)) {
            mine.start();
            other.start();
            say("count " + other.getCount());
            mine.setCount(8);
            await("count seen", () -> other.getCount() == 8);
            say("set again: " + mine.trySetCount(mine.getVersionedValue(), 9));
        }
        DistributedAtomicLong mine = new DistributedAtomicLong(one, "/long", new RetryOneTime(1));
        say("initialized " + mine.initialize(40L));
        List<Future<Boolean>> workers = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two)) {
            workers.add(pool.submit(() -> {
                DistributedAtomicLong number = new DistributedAtomicLong(client, "/long", new RetryOneTime(1));
                for (int done = 0; done < 20; ) if (number.increment().succeeded()) done++;
                return true;
            }));
        }
        for (Future<Boolean> worker : workers) worker.get(SECONDS_MAX, TimeUnit.SECONDS);
        say("number " + mine.get().postValue());
        AtomicValue<Long> swapped = mine.compareAndSet(80L, 1L);
        say("swapped " + swapped.succeeded() + " " + swapped.preValue() + " " + swapped.postValue());
    }

    @SuppressWarnings("deprecation")
    private static void caches() throws Exception {
        // Apache ZooKeeper 3.8 lets one watch mode replace another on the same path and connection, so CuratorCache, which
        // uses persistent watches, has a connection of its own.
        CuratorFramework three = connect();
        one.create().forPath("/cache", bytes("root"));
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        NodeCache node = new NodeCache(two, "/cache");
        node.start(true);
        node.getListenable().addListener(() -> seen.add(node.getCurrentData() == null ? "gone" : text(node.getCurrentData().getData())));
        PathChildrenCache children = new PathChildrenCache(two, "/cache", true);
        children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        BlockingQueue<String> childEvents = new LinkedBlockingQueue<>();
        children.getListenable().addListener((client, event) -> childEvents.add(event.getType() + " " + event.getData().getPath()));
        TreeCache tree = TreeCache.newBuilder(two, "/cache").build();
        tree.start();
        CuratorCache cache = CuratorCache.build(three, "/cache");
        BlockingQueue<String> cacheEvents = new LinkedBlockingQueue<>();
        CountDownLatch initialized = new CountDownLatch(1);
        cache.listenable().addListener(CuratorCacheListener.builder()
            .forCreates(data -> cacheEvents.add("created " + data.getPath()))
            .forChanges((before, after) -> cacheEvents.add("changed " + after.getPath() + " " + text(before.getData()) + " " + text(after.getData())))
            .forDeletes(data -> cacheEvents.add("deleted " + data.getPath()))
            .forInitialized(initialized::countDown).build());
        cache.start();
        await("cache initialized", initialized);
        await("tree there", () -> tree.getCurrentData("/cache") != null);
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        one.setData().forPath("/cache", bytes("changed"));
        say("node: " + seen.poll(SECONDS_MAX, TimeUnit.SECONDS));
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        one.create().forPath("/cache/child", bytes("c"));
        say(childEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        one.create().forPath("/cache/child/grandchild", bytes("g"));
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        await("grandchild in tree", () -> tree.getCurrentData("/cache/child/grandchild") != null);
        one.setData().forPath("/cache/child", bytes("d"));
        say(childEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        await("child changed in tree", () -> text(tree.getCurrentData("/cache/child").getData()).equals("d"));
        one.delete().forPath("/cache/child/grandchild");
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        one.delete().forPath("/cache/child");
        say(childEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        await("child out of tree", () -> tree.getCurrentData("/cache/child") == null);
        children.close();                   // it would make its path again
        one.delete().forPath("/cache");
        say("node: " + seen.poll(SECONDS_MAX, TimeUnit.SECONDS));
        say(cacheEvents.poll(SECONDS_MAX, TimeUnit.SECONDS));
        node.close();
        tree.close();
        cache.close();
        three.close();
    }

    private static void persistentWatcher() throws Exception {
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        for (boolean recursive : new boolean[] {false, true}) {
            // A connection for each mode: 3.8 keeps one mode for a path and connection, 3.9 each (ZOOKEEPER-4466).
            try (CuratorFramework three = connect(); PersistentWatcher watcher = new PersistentWatcher(three, "/watched", recursive)) {
                CountDownLatch set = new CountDownLatch(1);
                watcher.getResetListenable().addListener(set::countDown);
                watcher.getListenable().addListener(event -> events.add(event.getType() + " " + event.getPath()));
                watcher.start();
                await(recursive ? "recursive watch set" : "persistent watch set", set);
                one.create().forPath("/watched");
                one.create().forPath("/watched/a");
                one.create().forPath("/watched/a/b");
                one.setData().forPath("/watched/a", bytes("x"));
                one.setData().forPath("/watched", bytes("x"));
                one.delete().deletingChildrenIfNeeded().forPath("/watched");
                for (String event = ""; !event.equals("NodeDeleted /watched"); ) {
                    event = events.poll(SECONDS_MAX, TimeUnit.SECONDS);
                    say(event == null ? "MISSING: event" : event);
                    if (event == null) return;
                }
            }
        }
        CountDownLatch fired = new CountDownLatch(1);
        two.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher((org.apache.zookeeper.Watcher) e -> fired.countDown()).forPath("/added");
        one.create().forPath("/added");
        await("added watch fired", fired);
        two.watchers().removeAll().forPath("/added");
        say("none left: " + code(() -> two.watchers().removeAll().forPath("/added")));
    }

    private static void persistentNodes() throws Exception {
        CuratorFramework three = connect();
        PersistentNode node = new PersistentNode(three, CreateMode.EPHEMERAL, false, "/kept", bytes("k"));
        node.start();
        say("created " + node.waitForInitialCreate(SECONDS_MAX, TimeUnit.SECONDS));
        Stat before = one.checkExists().forPath("/kept");
        one.delete().forPath("/kept");
        await("created again", () -> {
            Stat now = one.checkExists().forPath("/kept");
            return now != null && now.getCzxid() != before.getCzxid();
        });
        PersistentTtlNode ttl = new PersistentTtlNode(three, "/kept-ttl", 60000, bytes("t"));
        ttl.start();
        say("ttl created " + ttl.waitForInitialCreate(SECONDS_MAX, TimeUnit.SECONDS));
        ttl.close();
        GroupMember mine = new GroupMember(one, "/group", "one", bytes("1"));
        GroupMember other = new GroupMember(three, "/group", "three", bytes("3"));
        mine.start();
        other.start();
        await("both are members", () -> mine.getCurrentMembers().size() == 2 && other.getCurrentMembers().size() == 2);
        say(new TreeSet<>(other.getCurrentMembers().keySet()).toString());
        three.close();
        await("one member left", () -> mine.getCurrentMembers().size() == 1);
        await("ephemeral is gone", () -> one.checkExists().forPath("/kept") == null);
        mine.close();
    }

    /** Passes bytes to the server and back until told to cut all connections. */
    private static final class Proxy implements AutoCloseable {
        private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        private final Set<Socket> open = ConcurrentHashMap.newKeySet();

        Proxy() throws Exception {
            pool.submit(() -> {
                while (true) {
                    Socket near = listener.accept();
                    Socket far = new Socket(InetAddress.getLoopbackAddress(), Integer.parseInt(server.split(":")[1]));
                    open.add(near);
                    open.add(far);
                    pool.submit(() -> near.getInputStream().transferTo(far.getOutputStream()));
                    pool.submit(() -> far.getInputStream().transferTo(near.getOutputStream()));
                }
            });
        }

        String address() {
            return "127.0.0.1:" + listener.getLocalPort();
        }

        void cut() throws IOException {
            for (Socket socket : open) socket.close();
            open.clear();
        }

        @Override
        public void close() throws IOException {
            listener.close();
            cut();
        }
    }

    private static BlockingQueue<String> states(CuratorFramework client) {
        BlockingQueue<String> states = new LinkedBlockingQueue<>();
        client.getConnectionStateListenable().addListener((c, state) -> {
            if (state != ConnectionState.CONNECTED) states.add(state.toString());       // told late, at times, of the first connection
        });
        return states;
    }

    private static String next(BlockingQueue<String> events) throws Exception {
        String event = events.poll(SECONDS_MAX, TimeUnit.SECONDS);
        return event == null ? "MISSING: event" : event;
    }

    /** The session outlives its connection: its ephemerals and lock stay, its watches of every kind are set again. */
    private static void brokenConnection() throws Exception {
        try (Proxy proxy = new Proxy(); CuratorFramework three = connect(proxy.address())) {
            BlockingQueue<String> states = states(three);
            BlockingQueue<String> data = new LinkedBlockingQueue<>();
            BlockingQueue<String> children = new LinkedBlockingQueue<>();
            BlockingQueue<String> missing = new LinkedBlockingQueue<>();
            BlockingQueue<String> recursive = new LinkedBlockingQueue<>();
            one.create().creatingParentsIfNeeded().forPath("/cut/tree/leaf");
            three.create().withMode(CreateMode.EPHEMERAL).forPath("/cut/ephemeral");
            three.getData().usingWatcher(into(data)).forPath("/cut");
            three.getChildren().usingWatcher(into(children)).forPath("/cut");
            three.checkExists().usingWatcher(into(missing)).forPath("/cut/missing");
            three.watchers().add().withMode(AddWatchMode.PERSISTENT_RECURSIVE).usingWatcher(into(recursive)).forPath("/cut/tree");
            InterProcessMutex lock = new InterProcessMutex(three, "/cut-lock");
            lock.acquire();
            long id = three.getZookeeperClient().getZooKeeper().getSessionId();
            proxy.cut();
            one.setData().forPath("/cut", bytes("changed"));
            one.create().forPath("/cut/missing");
            say(next(states));
            say(next(states));
            say("same session: " + (three.getZookeeperClient().getZooKeeper().getSessionId() == id));
            say("data " + next(data));
            say("children " + next(children));
            say("missing " + next(missing));
            one.setData().forPath("/cut/tree/leaf", bytes("l"));
            one.create().forPath("/cut/tree/leaf/below");
            say("recursive " + next(recursive));
            say("recursive " + next(recursive));
            say("ephemeral there: " + (one.checkExists().forPath("/cut/ephemeral") != null));
            say("lock still held: " + !pool.submit(() -> new InterProcessMutex(two, "/cut-lock").acquire(50, TimeUnit.MILLISECONDS)).get());
            lock.release();
        }
        await("ephemeral went with the session", () -> one.checkExists().forPath("/cut/ephemeral") == null);
    }

    private static org.apache.zookeeper.Watcher into(BlockingQueue<String> events) {
        return event -> {
            if (event.getType() != org.apache.zookeeper.Watcher.Event.EventType.None) events.add(event.getType() + " " + event.getPath());
        };
    }

    /** Another connection takes the session over and closes it; Curator goes on with a new one and mends what it keeps. */
    private static void lostSession() throws Exception {
        try (CuratorFramework three = connect()) {
            BlockingQueue<String> states = states(three);
            InterProcessMutex lock = new InterProcessMutex(three, "/lost-lock");
            lock.acquire();
            BlockingQueue<String> created = new LinkedBlockingQueue<>();
            PersistentNode node = new PersistentNode(three, CreateMode.EPHEMERAL, false, "/lost-node", bytes("n"));
            node.getListenable().addListener(created::add);
            node.start();
            say("created " + next(created));
            LeaderLatch latch = new LeaderLatch(three, "/lost-latch", "three");
            latch.start();
            await("three leads", latch::hasLeadership);
            BlockingQueue<String> events = new LinkedBlockingQueue<>();
            PersistentWatcher watcher = new PersistentWatcher(three, "/lost-watched", true);
            watcher.getListenable().addListener(event -> {
                if (event.getPath() != null) events.add(event.getType() + " " + event.getPath());
            });
            BlockingQueue<String> set = new LinkedBlockingQueue<>();
            watcher.getResetListenable().addListener(() -> set.add("watch set"));
            watcher.start();
            say(next(set));
            ZooKeeper session = three.getZookeeperClient().getZooKeeper();
            long id = session.getSessionId();
            CountDownLatch there = new CountDownLatch(1);
            ZooKeeper taker = new ZooKeeper(server, 20000, event -> {
                if (event.getState() == org.apache.zookeeper.Watcher.Event.KeeperState.SyncConnected) there.countDown();
            }, id, session.getSessionPasswd());
            await("taken over", there);
            taker.close();
            for (String state = ""; !state.equals("RECONNECTED") && !state.startsWith("MISSING"); ) {
                state = next(states);
                if (!state.equals("SUSPENDED")) say(state);         // suspended once or twice, as the timing goes
            }
            say("same session: " + (three.getZookeeperClient().getZooKeeper().getSessionId() == id));
            say("created " + next(created));
            say(next(set));
            one.create().forPath("/lost-watched");
            say(next(events));
            say("lock free: " + pool.submit(() -> new InterProcessMutex(two, "/lost-lock").acquire(SECONDS_MAX, TimeUnit.SECONDS)).get());
            await("three leads again", latch::hasLeadership);
            watcher.close();
            latch.close();
            node.close();
        }
    }

    private static void containers() throws Exception {
        say(one.create().withTtl(600000).creatingParentContainersIfNeeded().withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/box/in/box/ttl"));
        say(one.create().withTtl(600000).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath("/box/in/ttl-"));
        say(one.create().withMode(CreateMode.CONTAINER).forPath("/box/container"));
        for (String path : List.of("/box", "/box/in", "/box/container", "/box/in/box/ttl", "/box/in/ttl-0000000001")) {
            say(path + " owner " + Long.toHexString(two.checkExists().forPath(path).getEphemeralOwner()));
        }
        one.delete().deletingChildrenIfNeeded().forPath("/box");
        say("gone: " + (two.checkExists().forPath("/box") == null));
    }
}
