# A server, alone or of an ensemble (myid belongs into /data): data in /data, txn logs in /datalog, clients on 2181. Mount a zoo.cfg of your own at /conf/zoo.cfg.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends musl-tools && rustup target add x86_64-unknown-linux-musl
WORKDIR /zkd
COPY . .
RUN cargo build --release --locked --target x86_64-unknown-linux-musl
RUN install -d -o 1000 -g 1000 /image/conf /image/data /image/datalog /image/tmp \
    && install -D target/x86_64-unknown-linux-musl/release/zkd /image/usr/local/bin/zkd \
    && install -m 644 conf/zoo_sample.cfg /image/conf/zoo.cfg \
    && install -d /image/etc && echo 'zookeeper:x:1000:1000::/data:/nonexistent' > /image/etc/passwd \
    && echo 'zookeeper:x:1000:' > /image/etc/group

# The binary is static: there is nothing else in the image.
FROM scratch
COPY --from=build /image/ /
USER zookeeper
VOLUME ["/data", "/datalog"]
# Clients, learners, elections, the admin server.
EXPOSE 2181 2888 3888 8080
HEALTHCHECK CMD ["/usr/local/bin/zkd", "status", "--config", "/conf/zoo.cfg", "--set", "dataDir=/data"]
CMD ["/usr/local/bin/zkd", "--config", "/conf/zoo.cfg", "--set", "dataDir=/data", "--set", "dataLogDir=/datalog"]
