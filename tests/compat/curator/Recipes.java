import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

/** Do Curator's recipes work on both servers alike? Prints what they did; waits are for events, and bounded. */
public class Recipes {
    static final int SECONDS = 30;
    static final List<CuratorFramework> clients = new ArrayList<>();
    static String hosts;

    static CuratorFramework client() throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(hosts, 15000, 15000, new RetryNTimes(3, 200));
        client.start();
        if (!client.blockUntilConnected(SECONDS, TimeUnit.SECONDS)) throw new Exception("not connected");
        clients.add(client);
        return client;
    }

    static void say(String what) {
        System.out.println(what);
    }

    static void check(boolean right, String what) throws Exception {
        if (!right) throw new Exception(what);
        say(what);
    }

    static void locks(CuratorFramework a, CuratorFramework b) throws Exception {
        InterProcessMutex first = new InterProcessMutex(a, "/r/lock"), second = new InterProcessMutex(b, "/r/lock");
        check(first.acquire(SECONDS, TimeUnit.SECONDS), "first has the lock");
        check(!second.acquire(300, TimeUnit.MILLISECONDS), "second has not");
        first.release();
        check(second.acquire(SECONDS, TimeUnit.SECONDS), "second has it after the release");
        second.release();
        AtomicInteger inside = new AtomicInteger(), most = new AtomicInteger(), count = new AtomicInteger();
        ExecutorService pool = Executors.newFixedThreadPool(6);
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            CuratorFramework mine = i % 2 == 0 ? a : b;
            all.add(pool.submit(() -> {
                InterProcessMutex lock = new InterProcessMutex(mine, "/r/contended");
                for (int n = 0; n < 10; n++) {
                    lock.acquire();
                    most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                    count.incrementAndGet();
                    inside.decrementAndGet();
                    lock.release();
                }
                return null;
            }));
        }
        for (Future<?> one : all) one.get(SECONDS, TimeUnit.SECONDS);
        pool.shutdown();
        check(most.get() == 1 && count.get() == 60, "sixty turns, one at a time");
        InterProcessReadWriteLock left = new InterProcessReadWriteLock(a, "/r/rw"), right = new InterProcessReadWriteLock(b, "/r/rw");
        check(left.readLock().acquire(SECONDS, TimeUnit.SECONDS) && right.readLock().acquire(SECONDS, TimeUnit.SECONDS), "two readers");
        check(!right.writeLock().acquire(300, TimeUnit.MILLISECONDS), "no writer beside readers");
        left.readLock().release();
        right.readLock().release();
        check(right.writeLock().acquire(SECONDS, TimeUnit.SECONDS), "a writer alone");
        right.writeLock().release();
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(a, "/r/semaphore", 2);
        Lease one = semaphore.acquire(), two = semaphore.acquire();
        check(semaphore.acquire(300, TimeUnit.MILLISECONDS) == null, "two leases and no third");
        semaphore.returnLease(one);
        Lease three = semaphore.acquire(SECONDS, TimeUnit.SECONDS);
        check(three != null, "a third after one came back");
        semaphore.returnLease(two);
        semaphore.returnLease(three);
    }

    static void leaders(CuratorFramework a, CuratorFramework b) throws Exception {
        LeaderLatch first = new LeaderLatch(a, "/r/latch", "a"), second = new LeaderLatch(b, "/r/latch", "b");
        first.start();
        check(first.await(SECONDS, TimeUnit.SECONDS), "a leads");
        second.start();
        first.close();
        check(second.await(SECONDS, TimeUnit.SECONDS), "b leads after a");
        second.close();
        CountDownLatch led = new CountDownLatch(1);
        LeaderSelector selector = new LeaderSelector(a, "/r/selector", new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) {
                led.countDown();
            }
        });
        selector.start();
        check(led.await(SECONDS, TimeUnit.SECONDS), "the selector selected");
        selector.close();
    }

    static void together(CuratorFramework a, CuratorFramework b) throws Exception {
        SimpleDistributedQueue queue = new SimpleDistributedQueue(a, "/r/queue"), other = new SimpleDistributedQueue(b, "/r/queue");
        for (int i = 0; i < 5; i++) queue.offer(("item " + i).getBytes());
        StringBuilder order = new StringBuilder();
        for (int i = 0; i < 5; i++) order.append(new String(other.take())).append(", ");
        say(order.toString());
        DistributedBarrier barrier = new DistributedBarrier(a, "/r/barrier");
        barrier.setBarrier();
        ExecutorService pool = Executors.newFixedThreadPool(3);
        Future<Boolean> waits = pool.submit(() -> new DistributedBarrier(b, "/r/barrier").waitOnBarrier(SECONDS, TimeUnit.SECONDS));
        barrier.removeBarrier();
        check(waits.get(), "the barrier opened");
        List<Future<Boolean>> all = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            CuratorFramework mine = i == 0 ? a : b;
            all.add(pool.submit(() -> {
                DistributedDoubleBarrier gate = new DistributedDoubleBarrier(mine, "/r/double", 3);
                return gate.enter(SECONDS, TimeUnit.SECONDS) && gate.leave(SECONDS, TimeUnit.SECONDS);
            }));
        }
        for (Future<Boolean> one : all) check(one.get(), "entered and left");
        pool.shutdown();
        SharedCount count = new SharedCount(a, "/r/count", 5), mirror = new SharedCount(b, "/r/count", 0);
        count.start();
        mirror.start();
        check(mirror.getCount() == 5, "the count is shared");
        check(count.trySetCount(count.getVersionedValue(), 6), "and can be changed");
        count.close();
        mirror.close();
        DistributedAtomicLong number = new DistributedAtomicLong(a, "/r/long", new RetryNTimes(10, 10));
        for (int i = 0; i < 10; i++) number.increment();
        say("counted to " + number.get().postValue());
    }

    static void watching(CuratorFramework a, CuratorFramework b) throws Exception {
        a.create().creatingParentsIfNeeded().forPath("/r/cache/one", "1".getBytes());
        LinkedBlockingQueue<String> seen = new LinkedBlockingQueue<>();
        CuratorCache cache = CuratorCache.build(b, "/r/cache");
        CountDownLatch filled = new CountDownLatch(1);
        cache.listenable().addListener(CuratorCacheListener.builder()
            .forCreates(node -> seen.add("created " + node.getPath()))
            .forChanges((old, node) -> seen.add("changed " + node.getPath()))
            .forDeletes(node -> seen.add("deleted " + node.getPath()))
            .forInitialized(filled::countDown).build());
        cache.start();
        check(filled.await(SECONDS, TimeUnit.SECONDS), "the cache is filled");
        List<String> first = new ArrayList<>();
        seen.drainTo(first);
        Collections.sort(first);
        say(first.toString());
        a.create().forPath("/r/cache/two", "2".getBytes());
        say(seen.poll(SECONDS, TimeUnit.SECONDS));
        a.setData().forPath("/r/cache/one", "changed".getBytes());
        say(seen.poll(SECONDS, TimeUnit.SECONDS));
        a.delete().forPath("/r/cache/two");
        say(seen.poll(SECONDS, TimeUnit.SECONDS));
        cache.close();
        LinkedBlockingQueue<String> events = new LinkedBlockingQueue<>();
        PersistentWatcher watcher = new PersistentWatcher(b, "/r/watched", true);
        watcher.getListenable().addListener(event -> events.add(event.getType() + " " + event.getPath()));
        CountDownLatch set = new CountDownLatch(1);
        watcher.getResetListenable().addListener(set::countDown);
        watcher.start();
        check(set.await(SECONDS, TimeUnit.SECONDS), "the watcher watches");
        a.create().forPath("/r/watched");
        a.create().forPath("/r/watched/below");
        a.setData().forPath("/r/watched/below", new byte[3]);
        a.delete().forPath("/r/watched/below");
        for (int i = 0; i < 4; i++) say(events.poll(SECONDS, TimeUnit.SECONDS));
        watcher.close();
    }

    static void nodes(CuratorFramework a, CuratorFramework b) throws Exception {
        a.inTransaction().create().forPath("/r/tx", "1".getBytes()).and().setData().forPath("/r/tx", "2".getBytes()).and().commit();
        say("transaction wrote " + new String(b.getData().forPath("/r/tx")));
        try {
            a.inTransaction().delete().forPath("/r/tx").and().delete().forPath("/r/none").and().commit();
            throw new Exception("a transaction with a hole was taken");
        } catch (KeeperException.NoNodeException expected) {
            say("transaction refused, " + new String(b.getData().forPath("/r/tx")) + " is still there");
        }
        a.create().creatingParentContainersIfNeeded().forPath("/r/box/in/box");
        say("containers show owner " + a.checkExists().forPath("/r/box").getEphemeralOwner());
        PersistentNode node = new PersistentNode(a, CreateMode.EPHEMERAL, false, "/r/persistent", "p".getBytes());
        node.start();
        check(node.waitForInitialCreate(SECONDS, TimeUnit.SECONDS), "the node is there");
        CountDownLatch again = new CountDownLatch(1);
        node.getListenable().addListener(path -> again.countDown());
        b.delete().forPath("/r/persistent");
        check(again.await(SECONDS, TimeUnit.SECONDS), "and comes back when deleted");
        node.close();
        GroupMember left = new GroupMember(a, "/r/group", "left"), right = new GroupMember(b, "/r/group", "right");
        left.start();
        right.start();
        for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS); left.getCurrentMembers().size() < 2; Thread.onSpinWait())
            if (System.nanoTime() > end) throw new Exception("the group did not meet");
        List<String> members = new ArrayList<>(left.getCurrentMembers().keySet());
        Collections.sort(members);
        say(members.toString());
        left.close();
        right.close();
    }

    public static void main(String[] args) throws Exception {
        hosts = args[0];
        CuratorFramework a = client(), b = client();
        a.create().forPath("/r");
        locks(a, b);
        leaders(a, b);
        together(a, b);
        watching(a, b);
        nodes(a, b);
        for (CuratorFramework client : clients) client.close();
        say("done");
        System.exit(0);
    }
}
