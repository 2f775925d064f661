# A server, alone or of an ensemble (myid belongs into /data): data in /data, txn logs in /datalog, clients on 2181. Mount a zoo.cfg of your own at /conf/zoo.cfg.
FROM rust:1.95-bookworm AS build
WORKDIR /zkd
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --uid 1000 --user-group zookeeper && install -d -o zookeeper -g zookeeper /conf /data /datalog
COPY --from=build /zkd/target/release/zkd /usr/local/bin/zkd
COPY conf/zoo_sample.cfg /conf/zoo.cfg
USER zookeeper
VOLUME ["/data", "/datalog"]
# Clients, learners, elections.
EXPOSE 2181 2888 3888
HEALTHCHECK CMD ["zkd", "status"]
CMD ["zkd", "--config", "/conf/zoo.cfg", "--set", "dataDir=/data", "--set", "dataLogDir=/datalog"]
