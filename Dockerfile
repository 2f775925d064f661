# In the place of Apache ZooKeeper's image: the same variables, directories, ports, user and commands. A server alone, or of
# an ensemble with ZOO_MY_ID and ZOO_SERVERS; a zoo.cfg of your own that is mounted at /conf/zoo.cfg counts as it stands.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends musl-tools && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /zkd
COPY . .
RUN scripts/build-static
RUN install -d -o 1000 -g 1000 /image/conf /image/data /image/datalog /image/logs /image/tmp \
    && install -D "target/$(uname -m)-unknown-linux-musl/release/zkd" /image/usr/local/bin/zkd \
    && for name in zkServer zkServer-initialize zkCleanup zkCli; do ln -s zkd /image/usr/local/bin/$name.sh; done \
    && ln -s usr/local/bin/zkd /image/docker-entrypoint.sh \
    && install -m 644 conf/zoo_sample.cfg /image/conf/zoo_sample.cfg \
    && install -d /image/etc && echo 'zookeeper:x:1000:1000::/data:/nonexistent' > /image/etc/passwd \
    && echo 'zookeeper:x:1000:' > /image/etc/group

# The binary is static: there is nothing else in the image.
FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/local/bin \
    ZOO_CONF_DIR=/conf \
    ZOO_DATA_DIR=/data \
    ZOO_DATA_LOG_DIR=/datalog \
    ZOO_LOG_DIR=/logs \
    ZOO_TICK_TIME=2000 \
    ZOO_INIT_LIMIT=5 \
    ZOO_SYNC_LIMIT=2 \
    ZOO_AUTOPURGE_PURGEINTERVAL=0 \
    ZOO_AUTOPURGE_SNAPRETAINCOUNT=3 \
    ZOO_MAX_CLIENT_CNXNS=60 \
    ZOO_STANDALONE_ENABLED=true \
    ZOO_ADMINSERVER_ENABLED=true \
    ZOOCFGDIR=/conf
VOLUME ["/data", "/datalog", "/logs"]
# Clients, learners, elections, the admin server.
EXPOSE 2181 2888 3888 8080
# Begun as root it gives the volumes to the user zookeeper, and serves as that one.
ENTRYPOINT ["/usr/local/bin/zkd", "container"]
CMD ["zkServer.sh", "start-foreground"]
