/* Does the C client library get the same answers from both servers? Prints a transcript without times, zxids and ids. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define WAIT_SECONDS 20
#define ASYNC_OPS 500

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected, async_done, async_failed, events;
static char event_log[64][128];

static void wait_until(int *counter, int least) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&lock);
    while (*counter < least) {
        if (pthread_cond_timedwait(&changed, &lock, &deadline) != 0) {
            printf("TIMEOUT waiting for %d, have %d\n", least, *counter);
            exit(1);
        }
    }
    pthread_mutex_unlock(&lock);
}

static void bump(int *counter) {
    pthread_mutex_lock(&lock);
    ++*counter;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh;
    if (type == ZOO_SESSION_EVENT) {
        if (state == ZOO_CONNECTED_STATE)
            bump(&connected);
        return;
    }
    pthread_mutex_lock(&lock);
    if (events < 64)
        snprintf(event_log[events], sizeof event_log[0], "%s type %d path %s", (const char *)context, type, path);
    ++events;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void print_events(int least) {
    wait_until(&events, least);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < events; i++)
        printf("  event %s\n", event_log[i]);
    events = 0;
    pthread_mutex_unlock(&lock);
}

static zhandle_t *connect_to(const char *hosts, const clientid_t *id) {
    int before = connected;
    zhandle_t *zh = zookeeper_init(hosts, watcher, 10000, id, "session", 0);
    if (!zh) {
        printf("no handle\n");
        exit(1);
    }
    wait_until(&connected, before + 1);
    return zh;
}

static void say(const char *what, int code) { printf("%s: %s\n", what, code ? zerror(code) : "ok"); }

static void say_stat(const char *what, int code, const struct Stat *s) {
    say(what, code);
    if (code == ZOK)
        printf("  version %d cversion %d aversion %d ephemeral %d length %d children %d\n", s->version, s->cversion,
               s->aversion, s->ephemeralOwner != 0, s->dataLength, s->numChildren);
}

static void done(int code, const char *value, const void *data) {
    (void)value;
    (void)data;
    if (code != ZOK)
        bump(&async_failed);
    bump(&async_done);
}

static void got(int code, const char *value, int length, const struct Stat *stat, const void *data) {
    (void)value;
    (void)stat;
    if (code != ZOK || length != 4)
        bump(&async_failed);
    (void)data;
    bump(&async_done);
}

static void authed(int code, const void *data) {
    (void)data;
    say("auth", code);
    bump(&async_done);
}

static void basics(zhandle_t *zh) {
    char path[256], buffer[1024];
    struct Stat stat;
    int length, flags[] = {0, ZOO_EPHEMERAL, ZOO_SEQUENCE, ZOO_EPHEMERAL | ZOO_SEQUENCE};
    say("create root", zoo_create(zh, "/c", "root", 4, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    for (int i = 0; i < 4; i++) {
        int code = zoo_create(zh, "/c/n", "data", 4, &ZOO_OPEN_ACL_UNSAFE, flags[i], path, sizeof path);
        say("create", code);
        if (code == ZOK)
            printf("  %s\n", path);
        zoo_delete(zh, "/c/n", -1);
    }
    say_stat("create2", zoo_create2(zh, "/c/two", NULL, -1, &ZOO_READ_ACL_UNSAFE, 0, path, sizeof path, &stat), &stat);
    say("create container", zoo_create(zh, "/c/box", "", 0, &ZOO_OPEN_ACL_UNSAFE, 4, path, sizeof path));
    length = sizeof buffer;
    say_stat("get", zoo_get(zh, "/c", 0, buffer, &length, &stat), &stat);
    printf("  %.*s\n", length, buffer);
    length = sizeof buffer;
    say_stat("get null", zoo_get(zh, "/c/two", 0, buffer, &length, &stat), &stat);
    printf("  length %d\n", length);
    say_stat("set2", zoo_set2(zh, "/c", "new", 3, 0, &stat), &stat);
    say("set read-only", zoo_set(zh, "/c/two", "x", 1, -1));
    say_stat("exists", zoo_exists(zh, "/c", 0, &stat), &stat);
    struct String_vector names;
    say_stat("children", zoo_get_children2(zh, "/c", 0, &names, &stat), &stat);
    printf("  %d names\n", names.count);
    deallocate_String_vector(&names);
    say("bad version", zoo_set(zh, "/c", "x", 1, 7));
    say("no node", zoo_delete(zh, "/none", -1));
    say("node exists", zoo_create(zh, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    say("not empty", zoo_delete(zh, "/c", -1));
    say("bad path", zoo_create(zh, "/c/./x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    say("no parent", zoo_create(zh, "/none/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    say("ephemeral", zoo_create(zh, "/c/eph", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path));
    say("child of ephemeral", zoo_create(zh, "/c/eph/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    struct ACL bad = {ZOO_PERM_ALL, {"nobody", "x"}};
    struct ACL_vector bad_acl = {1, &bad};
    say("invalid acl", zoo_create(zh, "/c/acl", "", 0, &bad_acl, 0, path, sizeof path));
}

static void permissions(zhandle_t *zh, const char *hosts) {
    char path[256], buffer[64];
    struct Stat stat;
    struct ACL_vector acl;
    int length = sizeof buffer, before = async_done;
    say("add auth", zoo_add_auth(zh, "digest", "user:pw", 7, authed, NULL));
    wait_until(&async_done, before + 1);
    say("create mine", zoo_create(zh, "/c/mine", "m", 1, &ZOO_CREATOR_ALL_ACL, 0, path, sizeof path));
    say_stat("get acl", zoo_get_acl(zh, "/c/mine", &acl, &stat), &stat);
    for (int i = 0; i < acl.count; i++)
        printf("  %d %s %s\n", acl.data[i].perms, acl.data[i].id.scheme, acl.data[i].id.id);
    deallocate_ACL_vector(&acl);
    zhandle_t *stranger = connect_to(hosts, NULL);
    say("stranger reads", zoo_get(stranger, "/c/mine", 0, buffer, &length, &stat));
    say("stranger writes", zoo_set(stranger, "/c/mine", "x", 1, -1));
    zookeeper_close(stranger);
    say("set acl", zoo_set_acl(zh, "/c/mine", 0, &ZOO_OPEN_ACL_UNSAFE));
}

static void multis(zhandle_t *zh) {
    char path[2][256];
    struct Stat stat;
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    zoo_create_op_init(&ops[0], "/c/m", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path[0], sizeof path[0]);
    zoo_create_op_init(&ops[1], "/c/m/s", "2", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path[1], sizeof path[1]);
    zoo_set_op_init(&ops[2], "/c/m", "3", 1, 0, &stat);
    zoo_check_op_init(&ops[3], "/c", 1);
    say("multi", zoo_multi(zh, 4, ops, results));
    printf("  %s %s version %d\n", path[0], path[1], stat.version);
    zoo_delete_op_init(&ops[0], "/c/m/s0000000000", -1);
    zoo_delete_op_init(&ops[1], "/c/none", -1);
    zoo_delete_op_init(&ops[2], "/c/m", -1);
    say("failing multi", zoo_multi(zh, 3, ops, results));
    for (int i = 0; i < 3; i++)
        printf("  %d\n", results[i].err);
}

static void watching(zhandle_t *zh) {
    char path[256], buffer[64];
    struct Stat stat;
    struct String_vector names;
    int length = sizeof buffer;
    say("watch nothing", zoo_wexists(zh, "/c/w", watcher, "exists", &stat));
    say("create", zoo_create(zh, "/c/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    print_events(1);
    say("watch data", zoo_wget(zh, "/c/w", watcher, "data", buffer, &length, &stat));
    say("watch children", zoo_wget_children(zh, "/c/w", watcher, "children", &names));
    deallocate_String_vector(&names);
    say("set", zoo_set(zh, "/c/w", "x", 1, -1));
    print_events(1);
    say("create child", zoo_create(zh, "/c/w/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    print_events(1);
    say("watch again", zoo_wget(zh, "/c/w/x", watcher, "gone", buffer, &length, &stat));
    say("delete", zoo_delete(zh, "/c/w/x", -1));
    print_events(1);
    say("watch to remove", zoo_wget(zh, "/c/w", watcher, "removed", buffer, &length, &stat));
    say("remove watches", zoo_remove_watches(zh, "/c/w", ZWATCHTYPE_DATA, watcher, "removed", 0));
    say("remove again", zoo_remove_watches(zh, "/c/w", ZWATCHTYPE_DATA, watcher, "removed", 0));
}

static void many(zhandle_t *zh) {
    char path[256], *big = calloc(1, 900000);
    int before = async_done, length = 900000;
    struct Stat stat;
    for (int i = 0; i < ASYNC_OPS; i++) {
        snprintf(path, sizeof path, "/c/a%d", i);
        zoo_acreate(zh, path, "data", 4, &ZOO_OPEN_ACL_UNSAFE, 0, done, NULL);
        zoo_aget(zh, path, 0, got, NULL);
    }
    wait_until(&async_done, before + 2 * ASYNC_OPS);
    printf("async: %d answered, %d failed\n", async_done - before, async_failed);
    say("create big", zoo_create(zh, "/c/big", big, length, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    say_stat("get big", zoo_get(zh, "/c/big", 0, big, &length, &stat), &stat);
    free(big);
}

/* A process that ends without a word leaves a session that another one comes back to. */
static void come_back(const char *hosts) {
    int ends[2];
    clientid_t id;
    struct Stat stat;
    if (pipe(ends) != 0)
        exit(1);
    pid_t child = fork();
    if (child == 0) {
        char path[64];
        zhandle_t *lost = connect_to(hosts, NULL);
        zoo_create(lost, "/c/left", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path);
        _exit(write(ends[1], zoo_client_id(lost), sizeof id) != sizeof id);
    }
    if (read(ends[0], &id, sizeof id) != sizeof id || waitpid(child, NULL, 0) != child)
        exit(1);
    zhandle_t *again = connect_to(hosts, &id);
    printf("same session: %d\n", zoo_client_id(again)->client_id == id.client_id);
    say_stat("ephemeral after coming back", zoo_exists(again, "/c/left", 0, &stat), &stat);
    zookeeper_close(again);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0);
    zhandle_t *zh = connect_to(argv[1], NULL);
    basics(zh);
    permissions(zh, argv[1]);
    multis(zh);
    watching(zh);
    many(zh);
    come_back(argv[1]);
    struct Stat stat;
    zhandle_t *other = connect_to(argv[1], NULL);
    say("ephemeral after close", zoo_exists(other, "/c/left", 0, &stat));
    zookeeper_close(zh);
    say("ephemeral after close", zoo_exists(other, "/c/eph", 0, &stat));
    zookeeper_close(other);
    return 0;
}
