/* Does the C client library get the same answers from both servers?  Walks through the API of libzookeeper_mt against the server given as HOST:PORT and
 * prints a transcript without times, zxids and session ids, so that two servers can be compared. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { FDS_MAX = 256, PIPELINED = 2000, BIG_BYTES = 1000000, WAIT_SECONDS_MAX = 20, LINES_MAX = 64, LINE_MAX_BYTES = 512, PATH_BYTES = 256, SESSION_MS = 30000 };

static const char *server;

/* --- what arrives from the library's threads: lines, kept until somebody waits for them --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static char lines[LINES_MAX][LINE_MAX_BYTES];
static int line_count;

static void post(const char *format, ...) {
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&lock);
    if (line_count < LINES_MAX) vsnprintf(lines[line_count++], LINE_MAX_BYTES, format, args);
    pthread_cond_broadcast(&arrived);
    pthread_mutex_unlock(&lock);
    va_end(args);
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

/* Print `count` lines in a fixed order; give up loudly at the deadline. */
static void await_lines(int count) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_SECONDS_MAX;
    pthread_mutex_lock(&lock);
    while (line_count < count)
        if (pthread_cond_timedwait(&arrived, &lock, &deadline) != 0) {
            printf("MISSING: %d of %d lines came\n", line_count, count);
            break;
        }
    qsort(lines, line_count, LINE_MAX_BYTES, by_text);
    for (int i = 0; i < line_count; i++) printf("  %s\n", lines[i]);
    line_count = 0;
    pthread_mutex_unlock(&lock);
}

static const char *event_name(int type) {
    if (type == ZOO_CREATED_EVENT) return "created";
    if (type == ZOO_DELETED_EVENT) return "deleted";
    if (type == ZOO_CHANGED_EVENT) return "changed";
    if (type == ZOO_CHILD_EVENT) return "child";
    if (type == ZOO_SESSION_EVENT) return "session";
    return "notwatching";
}

static const char *state_name(int state) {
    if (state == ZOO_CONNECTED_STATE) return "connected";
    if (state == ZOO_EXPIRED_SESSION_STATE) return "expired";
    if (state == ZOO_AUTH_FAILED_STATE) return "auth-failed";
    return "other";
}

/* The handle's own watcher: only states that a client acts on. */
static void on_session(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh; (void)path;
    if (type == ZOO_SESSION_EVENT && strcmp(state_name(state), "other") != 0)
        post("%s session %s", (const char *)context, state_name(state));
}

static void on_watch(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh;
    if (type != ZOO_SESSION_EVENT) post("watch %s: %s %s (%s)", (const char *)context, event_name(type), path, state_name(state));
}

/* --- printing --- */

static void say(const char *what, int rc) { printf("%s: %s\n", what, zerror(rc)); }

static const char *stat_text(const struct Stat *s) {
    static char text[LINE_MAX_BYTES];
    snprintf(text, sizeof text, "v%d c%d a%d length %d children %d %s%s%s", s->version, s->cversion, s->aversion, s->dataLength,
             s->numChildren, s->ephemeralOwner ? "ephemeral " : "", s->mzxid == s->czxid ? "unmodified " : "",
             s->pzxid == s->czxid ? "childless-ever" : "");
    return text;
}

static void show_node(zhandle_t *zh, const char *path) {
    char data[1024];
    int length = sizeof data;
    struct Stat stat;
    int rc = zoo_get(zh, path, 0, data, &length, &stat);
    if (rc != ZOK) printf("get %s: %s\n", path, zerror(rc));
    else printf("get %s: %d bytes '%.*s' %s\n", path, length, length < 0 ? 0 : length, data, stat_text(&stat));
}

static void show_children(zhandle_t *zh, const char *path) {
    struct String_vector children;
    struct Stat stat;
    int rc = zoo_get_children2(zh, path, 0, &children, &stat);
    printf("children %s: %s %s\n", path, zerror(rc), rc == ZOK ? stat_text(&stat) : "");
    if (rc != ZOK) return;
    for (int i = 0; i < children.count; i++) post("child %s", children.data[i]);
    await_lines(children.count);
    deallocate_String_vector(&children);
}

static void show_acl(zhandle_t *zh, const char *path) {
    struct ACL_vector acl;
    struct Stat stat;
    int rc = zoo_get_acl(zh, path, &acl, &stat);
    printf("acl %s: %s %s\n", path, zerror(rc), rc == ZOK ? stat_text(&stat) : "");
    if (rc != ZOK) return;
    for (int i = 0; i < acl.count; i++) post("%d %s:%s", acl.data[i].perms, acl.data[i].id.scheme, acl.data[i].id.id);
    await_lines(acl.count);
    deallocate_ACL_vector(&acl);
}

static zhandle_t *open_handle(const char *name, const clientid_t *id) {
    zhandle_t *zh = zookeeper_init(server, on_session, SESSION_MS, id, (void *)name, 0);
    await_lines(1);
    return zh;
}

/* --- the walk --- */

static void creates(zhandle_t *zh) {
    static const struct { const char *name; int mode; } modes[] = {
        {"persistent", 0}, {"ephemeral", 1}, {"sequential-", 2}, {"sequential-", 2}, {"ephemeral-sequential-", 3}, {"container", 4}};
    char path[PATH_BYTES], created[PATH_BYTES];
    struct Stat stat;
    say("create /c", zoo_create(zh, "/c", "root", 4, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        snprintf(path, sizeof path, "/c/%s", modes[i].name);
        int rc = zoo_create2(zh, path, "data", 4, &ZOO_OPEN_ACL_UNSAFE, modes[i].mode, created, sizeof created, &stat);
        printf("create2 %s: %s -> %s %s\n", path, zerror(rc), created, stat_text(&stat));
    }
    int rc = zoo_create_ttl(zh, "/c/ttl", "t", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 1000000, created, sizeof created);
    printf("create ttl: %s -> %s\n", zerror(rc), created);
    rc = zoo_create2_ttl(zh, "/c/ttl-", "t", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 1000000, created,
                         sizeof created, &stat);
    printf("create2 sequential ttl: %s -> %s %s\n", zerror(rc), created, stat_text(&stat));
    say("create ttl 0", zoo_create_ttl(zh, "/c/ttl0", "t", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 0, NULL, 0));
    say("null data", zoo_create(zh, "/c/null", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("empty data", zoo_create(zh, "/c/empty", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    show_node(zh, "/c/null");
    show_node(zh, "/c/empty");
    show_children(zh, "/c");
    say("again", zoo_create(zh, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("no parent", zoo_create(zh, "/none/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("below an ephemeral", zoo_create(zh, "/c/ephemeral/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("bad path", zoo_create(zh, "c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("dotted path", zoo_create(zh, "/c/../d", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("bad flags", zoo_create(zh, "/c/flags", "", 0, &ZOO_OPEN_ACL_UNSAFE, 77, NULL, 0));
    struct ACL_vector none = {0, NULL};
    say("no acl", zoo_create(zh, "/c/acl", "", 0, &none, 0, NULL, 0));
}

static void reads_and_writes(zhandle_t *zh) {
    struct Stat stat;
    int rc = zoo_exists(zh, "/c", 0, &stat);
    printf("exists: %s %s\n", zerror(rc), stat_text(&stat));
    say("exists not", zoo_exists(zh, "/none", 0, &stat));
    rc = zoo_set2(zh, "/c/persistent", "second", 6, 0, &stat);
    printf("set2: %s %s\n", zerror(rc), stat_text(&stat));
    say("set bad version", zoo_set(zh, "/c/persistent", "x", 1, 0));
    say("set any version", zoo_set(zh, "/c/persistent", NULL, -1, -1));
    show_node(zh, "/c/persistent");
    say("set none", zoo_set(zh, "/none", "x", 1, -1));
    char *big = malloc(BIG_BYTES), *back = calloc(1, BIG_BYTES);
    for (int i = 0; i < BIG_BYTES; i++) big[i] = (char)(i * 31 + i / 256);
    say("set a megabyte", zoo_set(zh, "/c/empty", big, BIG_BYTES, -1));
    int length = BIG_BYTES;
    rc = zoo_get(zh, "/c/empty", 0, back, &length, &stat);
    printf("get a megabyte: %s %d bytes, equal %d, %s\n", zerror(rc), length, memcmp(big, back, BIG_BYTES) == 0, stat_text(&stat));
    length = 10;
    rc = zoo_get(zh, "/c/empty", 0, back, &length, &stat);
    printf("get into ten bytes: %s %d bytes of %d\n", zerror(rc), length, stat.dataLength);
    free(big);
    free(back);
    say("delete bad version", zoo_delete(zh, "/c/persistent", 7));
    say("delete", zoo_delete(zh, "/c/persistent", 2));
    say("delete again", zoo_delete(zh, "/c/persistent", -1));
    say("delete parent", zoo_delete(zh, "/c", -1));
    say("delete root", zoo_delete(zh, "/", -1));
    rc = zoo_get(zh, "c", 0, (char[8]){0}, &(int){8}, &stat);
    say("get of a bad path", rc);
    struct String_vector names;
    rc = zoo_get_children(zh, "/none", 0, &names);
    say("children of none", rc);
    rc = zoo_get_children(zh, "/zookeeper", 0, &names);
    printf("children of /zookeeper: %s %d\n", zerror(rc), rc == ZOK ? names.count : -1);
    if (rc == ZOK) deallocate_String_vector(&names);
    show_node(zh, "/zookeeper");
    show_node(zh, "/zookeeper/config");
}

static void on_void(int rc, const void *data) { post("%s: %s", (const char *)data, zerror(rc)); }
static void on_stat(int rc, const struct Stat *s, const void *data) {
    post("%s: %s %s", (const char *)data, zerror(rc), s && rc == ZOK ? stat_text(s) : "");
}
static void on_data(int rc, const char *value, int length, const struct Stat *s, const void *data) {
    post("%s: %s %d '%.*s' %s", (const char *)data, zerror(rc), length, length < 0 ? 0 : length, value ? value : "",
         rc == ZOK ? stat_text(s) : "");
}
static void on_string(int rc, const char *value, const void *data) { post("%s: %s %s", (const char *)data, zerror(rc), value ? value : "-"); }
static void on_strings(int rc, const struct String_vector *v, const void *data) {
    post("%s: %s %d", (const char *)data, zerror(rc), v ? v->count : -1);
}
static void on_acl(int rc, struct ACL_vector *acl, struct Stat *s, const void *data) {
    post("%s: %s %d %s", (const char *)data, zerror(rc), acl ? acl->count : -1, rc == ZOK ? stat_text(s) : "");
}

static void asynchronous(zhandle_t *zh) {
    printf("asynchronous, all at once\n");
    zoo_acreate(zh, "/async", "a", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, "01 create");
    zoo_acreate(zh, "/async/s-", "a", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, on_string, "02 create sequential");
    zoo_acreate(zh, "/async", "a", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, "03 create again");
    zoo_aexists(zh, "/async", 0, on_stat, "04 exists");
    zoo_aset(zh, "/async", "b", 1, 0, on_stat, "05 set");
    zoo_aset(zh, "/async", "c", 1, 0, on_stat, "06 set old version");
    zoo_aget(zh, "/async", 0, on_data, "07 get");
    zoo_aget_children(zh, "/async", 0, on_strings, "08 children");
    zoo_aget_acl(zh, "/async", on_acl, "09 acl");
    zoo_aset_acl(zh, "/async", -1, (struct ACL_vector *)&ZOO_OPEN_ACL_UNSAFE, on_void, "10 set acl");
    zoo_async(zh, "/async", on_string, "11 sync");
    zoo_adelete(zh, "/async", -1, on_void, "12 delete with children");
    zoo_adelete(zh, "/async/s-0000000000", 0, on_void, "13 delete child");
    zoo_adelete(zh, "/async", -1, on_void, "14 delete");
    zoo_aget(zh, "/async", 0, on_data, "15 get deleted");
    await_lines(15);
}

/* Counted instead of listed: answers to many requests that are under way at once, which must come in order. */
static int answered, answered_ok, out_of_order;

static void count_answer(int rc, const void *data) {
    pthread_mutex_lock(&lock);
    if ((intptr_t)data != answered) out_of_order++;
    answered++;
    if (rc == ZOK) answered_ok++;
    pthread_cond_broadcast(&arrived);
    pthread_mutex_unlock(&lock);
}
static void count_string(int rc, const char *value, const void *data) { (void)value; count_answer(rc, data); }
static void count_stat(int rc, const struct Stat *s, const void *data) { (void)s; count_answer(rc, data); }
static void count_data(int rc, const char *value, int length, const struct Stat *s, const void *data) {
    (void)s;
    count_answer(rc == ZOK && (length != 1 || *value != 'q') ? ZDATAINCONSISTENCY : rc, data);
}

static void await_answers(const char *what, int count) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_SECONDS_MAX;
    pthread_mutex_lock(&lock);
    while (answered < count && pthread_cond_timedwait(&arrived, &lock, &deadline) == 0) {}
    printf("%s%s: %d answered, %d ok, %d out of order\n", answered < count ? "MISSING: " : "", what, answered, answered_ok,
           out_of_order);
    answered = answered_ok = out_of_order = 0;
    pthread_mutex_unlock(&lock);
}

static void pipelined(zhandle_t *zh) {
    char path[PATH_BYTES];
    intptr_t sent = 0;
    say("create /p", zoo_create(zh, "/p", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    for (int i = 0; i < PIPELINED; i++) {
        snprintf(path, sizeof path, "/p/%d", i);
        zoo_acreate(zh, path, "p", 1, &ZOO_OPEN_ACL_UNSAFE, i % 3 ? 0 : ZOO_EPHEMERAL, count_string, (void *)sent++);
        zoo_aset(zh, path, "q", 1, 0, count_stat, (void *)sent++);
        zoo_aget(zh, path, 0, count_data, (void *)sent++);
    }
    await_answers("create, set, get", (int)sent);
    struct Stat stat;
    printf("exists /p: %s", zerror(zoo_exists(zh, "/p", 0, &stat)));
    printf(" %s\n", stat_text(&stat));
    sent = 0;
    for (int i = 0; i < PIPELINED; i++) {
        snprintf(path, sizeof path, "/p/%d", i);
        zoo_adelete(zh, path, 1, count_answer, (void *)sent++);
        zoo_adelete(zh, path, 1, count_answer, (void *)sent++);
    }
    await_answers("delete twice", (int)sent);
    printf("exists /p: %s", zerror(zoo_exists(zh, "/p", 0, &stat)));
    printf(" %s\n", stat_text(&stat));
    for (int i = 0; i < 100; i++) zoo_acreate(zh, "/p/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, count_string, (void *)(intptr_t)i);
    await_answers("create sequential", 100);
    /* A name counts the parent's creations, not its deletions. */
    snprintf(path, sizeof path, "/p/s-%010d", PIPELINED);
    printf("first sequential %s: %s\n", path, zerror(zoo_exists(zh, path, 0, &stat)));
    snprintf(path, sizeof path, "/p/s-%010d", PIPELINED + 99);
    printf("last sequential %s: %s\n", path, zerror(zoo_exists(zh, path, 0, &stat)));
}

static void acls(zhandle_t *zh) {
    zoo_add_auth(zh, "digest", "me:secret", 9, on_void, "add auth");
    await_lines(1);
    say("create for me only", zoo_create(zh, "/mine", "m", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    show_acl(zh, "/mine");
    zhandle_t *other = open_handle("other", NULL);
    show_node(other, "/mine");
    say("set by another", zoo_set(other, "/mine", "x", 1, -1));
    say("create below by another", zoo_create(other, "/mine/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("set acl by another", zoo_set_acl(other, "/mine", -1, &ZOO_OPEN_ACL_UNSAFE));
    show_acl(other, "/mine");
    zoo_add_auth(other, "digest", "me:secret", 9, on_void, "add auth");
    await_lines(1);
    show_node(other, "/mine");
    say("set acl bad version", zoo_set_acl(zh, "/mine", 99, &ZOO_OPEN_ACL_UNSAFE));
    say("set acl of none", zoo_set_acl(zh, "/none", -1, &ZOO_OPEN_ACL_UNSAFE));
    show_acl(zh, "/none");
    struct ACL half_entries[] = {{ZOO_PERM_READ, {"world", "anyone"}}, {ZOO_PERM_ADMIN | ZOO_PERM_WRITE, {"auth", ""}}};
    struct ACL_vector half = {2, half_entries};
    say("set mixed acl", zoo_set_acl(zh, "/mine", -1, &half));
    show_acl(zh, "/mine");
    say("set acl to read", zoo_set_acl(zh, "/mine", 1, &ZOO_READ_ACL_UNSAFE));
    say("set acl again", zoo_set_acl(zh, "/mine", -1, &ZOO_OPEN_ACL_UNSAFE));
    struct ACL bad_entry = {31, {"nosuch", "x"}};
    struct ACL_vector bad = {1, &bad_entry};
    struct ACL ip_entry = {ZOO_PERM_ALL, {"ip", "127.0.0.1/8"}}, wrong_ip_entry = {ZOO_PERM_ALL, {"ip", "no.such.ip"}};
    struct ACL_vector ip = {1, &ip_entry}, wrong_ip = {1, &wrong_ip_entry};
    say("create for an address", zoo_create(zh, "/ip", "", 0, &ip, 0, NULL, 0));
    show_acl(zh, "/ip");
    say("create for no address", zoo_create(zh, "/noip", "", 0, &wrong_ip, 0, NULL, 0));
    say("unknown scheme", zoo_set_acl(zh, "/mine", -1, &bad));
    zoo_add_auth(other, "nosuch", "x", 1, on_void, "add auth of unknown scheme");
    await_lines(2);
    zookeeper_close(other);
}

static void multis(zhandle_t *zh) {
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    struct Stat stat;
    char created[PATH_BYTES];
    zoo_create_op_init(&ops[0], "/multi", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_create_op_init(&ops[1], "/multi/s-", "2", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, created, sizeof created);
    zoo_set_op_init(&ops[2], "/multi", "3", 1, 0, &stat);
    zoo_check_op_init(&ops[3], "/multi", 1);
    zoo_delete_op_init(&ops[4], "/c/null", -1);
    say("multi", zoo_multi(zh, 5, ops, results));
    for (int i = 0; i < 5; i++) printf("  %d: %s\n", i, zerror(results[i].err));
    printf("  created %s, %s\n", created, stat_text(&stat));
    zoo_create_op_init(&ops[0], "/multi/undone", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_check_op_init(&ops[1], "/multi", 99);
    zoo_delete_op_init(&ops[2], "/multi", -1);
    say("failing multi", zoo_multi(zh, 3, ops, results));
    for (int i = 0; i < 3; i++) printf("  %d: %s\n", i, zerror(results[i].err));
    show_children(zh, "/multi");
    say("empty multi", zoo_multi(zh, 0, ops, results));
}

static void watches(zhandle_t *zh) {
    struct Stat stat;
    char data[16];
    int length = sizeof data;
    struct String_vector children;
    printf("watches\n");
    say("on nothing", zoo_wexists(zh, "/w", on_watch, "exists", &stat));
    say("create", zoo_create(zh, "/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    await_lines(1);
    say("data", zoo_wget(zh, "/w", on_watch, "data", data, &length, &stat));
    say("children", zoo_wget_children(zh, "/w", on_watch, "children", &children));
    deallocate_String_vector(&children);
    say("set", zoo_set(zh, "/w", "x", 1, -1));
    await_lines(1);
    say("set unwatched", zoo_set(zh, "/w", "y", 1, -1));
    say("create child", zoo_create(zh, "/w/k", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    await_lines(1);
    say("delete child", zoo_delete(zh, "/w/k", -1));
    length = sizeof data;
    say("data", zoo_wget(zh, "/w", on_watch, "data", data, &length, &stat));
    say("children", zoo_wget_children(zh, "/w", on_watch, "children", &children));
    deallocate_String_vector(&children);
    say("delete", zoo_delete(zh, "/w", -1));
    await_lines(2);
    say("on nothing", zoo_wexists(zh, "/w", on_watch, "removed", &stat));
    say("remove", zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, on_watch, "removed", 0));
    say("remove again", zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, on_watch, "removed", 0));
    say("create", zoo_create(zh, "/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    length = sizeof data;
    say("data", zoo_wget(zh, "/w", on_watch, "all", data, &length, &stat));
    say("remove all", zoo_remove_all_watches(zh, "/w", ZWATCHTYPE_ANY, 0));
    say("delete", zoo_delete(zh, "/w", -1));
    await_lines(0);
}

/* In a process of its own, which ends without closing the session. */
static void leave_session(int out) {
    char path[] = "/left";
    zhandle_t *zh = open_handle("leaving", NULL);
    if (zoo_create(zh, path, "e", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) != ZOK) _exit(1);
    const clientid_t *id = zoo_client_id(zh);
    if (write(out, id, sizeof *id) != sizeof *id) _exit(1);
    fflush(stdout);
    _exit(0);
}

static void take_up_session(const clientid_t *id) {
    printf("taking up a session\n");
    zhandle_t *zh = open_handle("again", id);
    printf("same id %d, same password %d\n", zoo_client_id(zh)->client_id == id->client_id,
           memcmp(zoo_client_id(zh)->passwd, id->passwd, sizeof id->passwd) == 0);
    printf("timeout %d\n", zoo_recv_timeout(zh));
    show_node(zh, "/left");
    zookeeper_close(zh);
    clientid_t wrong = *id;
    zh = open_handle("closed before", id);
    zookeeper_close(zh);
    wrong.passwd[0] ^= 1;
    zh = open_handle("wrong password", &wrong);
    zookeeper_close(zh);
}

/* The one socket to the server that is not in `before`; marks all there are. */
static int new_socket(char before[FDS_MAX]) {
    int found = -1, port = atoi(strrchr(server, ':') + 1);
    for (int fd = 3; fd < FDS_MAX; fd++) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 || peer.sin_family != AF_INET || ntohs(peer.sin_port) != port) continue;
        if (!before[fd]) found = fd;
        before[fd] = 1;
    }
    return found;
}

/* The library reconnects by itself when its socket breaks, with the same session, and sets its watches again. */
static void broken_connection(zhandle_t *zh) {
    printf("a broken connection\n");
    char before[FDS_MAX] = {0}, data[16];
    int length = sizeof data;
    struct Stat stat;
    struct String_vector children;
    new_socket(before);
    zhandle_t *broken = open_handle("broken", NULL);
    int fd = new_socket(before);
    clientid_t id = *zoo_client_id(broken);
    say("create", zoo_create(broken, "/broken", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("create ephemeral", zoo_create(broken, "/broken/e", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0));
    say("create", zoo_create(broken, "/broken/gone", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("watch data", zoo_wget(broken, "/broken", on_watch, "data", data, &length, &stat));
    length = sizeof data;
    say("watch data", zoo_wget(broken, "/broken/gone", on_watch, "gone", data, &length, &stat));
    say("watch nothing", zoo_wexists(broken, "/broken/new", on_watch, "exists", &stat));
    say("watch children", zoo_wget_children(broken, "/broken", on_watch, "children", &children));
    deallocate_String_vector(&children);
    printf("broken %d\n", fd >= 0 && shutdown(fd, SHUT_RDWR) == 0);
    say("set", zoo_set(zh, "/broken", "x", 1, -1));
    say("create", zoo_create(zh, "/broken/new", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    say("delete", zoo_delete(zh, "/broken/gone", -1));
    await_lines(5);
    printf("same id %d\n", zoo_client_id(broken)->client_id == id.client_id);
    show_node(broken, "/broken/e");
    zookeeper_close(broken);
    show_node(zh, "/broken/e");
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    server = argv[1];
    zoo_set_debug_level(0);
    int ends[2], status;
    clientid_t left;
    if (pipe(ends) != 0) return 2;
    pid_t child = fork();                       /* before this process has any threads */
    if (child == 0) leave_session(ends[1]);
    if (read(ends[0], &left, sizeof left) != sizeof left) return 2;
    waitpid(child, &status, 0);
    zhandle_t *zh = open_handle("main", NULL);
    creates(zh);
    reads_and_writes(zh);
    asynchronous(zh);
    pipelined(zh);
    acls(zh);
    multis(zh);
    watches(zh);
    broken_connection(zh);
    take_up_session(&left);
    show_node(zh, "/left");
    say("reconfig", zoo_reconfig(zh, NULL, NULL, "server.1=127.0.0.1:1:2", -1, NULL, NULL, NULL));
    say("close", zookeeper_close(zh));
    zh = open_handle("afterwards", NULL);
    show_node(zh, "/c/ephemeral");
    zookeeper_close(zh);
    return WEXITSTATUS(status);
}
