#!/usr/bin/env bash
# Run at build time: start a broker, use every tool on it, and store the loaded classes in one archive (class data
# sharing), which makes containers start faster.
set -euo pipefail
bin=/opt/kafka/bin
lists=$(mktemp -d)

export KAFKA_NODE_ID=1 KAFKA_PROCESS_ROLES=broker,controller KAFKA_LOG_DIRS=$lists/data
export KAFKA_LISTENERS=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092
export KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
export KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093
# Production creates accounts and ACLs; the archive includes the classes for these too.
export KAFKA_AUTHORIZER_CLASS_NAME=org.apache.kafka.metadata.authorizer.StandardAuthorizer KAFKA_SUPER_USERS=User:ANONYMOUS
export KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1 KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0
export KAFKA_HEAP_OPTS=-Xmx512m KAFKA_GC_LOG_OPTS=-Xlog:disable

# Every Java process writes its own list: the one that formats the folders too, which gets no KAFKA_OPTS.
export KAFKA_JVM_PERFORMANCE_OPTS="-Xshare:off -XX:DumpLoadedClassList=$lists/%p.list"
tool() { "$bin/$1" --bootstrap-server localhost:9092 "${@:2}"; }

/etc/kafka/docker/run &
broker=$!
for _ in {1..60}; do
  ! (exec 3<>/dev/tcp/localhost/9092) 2>/dev/null || break
  kill -0 "$broker"
  sleep 0.5
done
tool kafka-topics.sh --create --topic archive
tool kafka-console-producer.sh --topic archive <<<'message'
tool kafka-console-consumer.sh --topic archive --group archive --from-beginning --max-messages 1 --timeout-ms 20000
tool kafka-consumer-groups.sh --describe --group archive
tool kafka-configs.sh --describe --entity-type topics --entity-name archive
tool kafka-configs.sh --alter --entity-type users --entity-name archive --add-config 'SCRAM-SHA-512=[password=archive]'
tool kafka-acls.sh --add --consumer --allow-principal User:archive --topic archive --group archive
kill -TERM "$broker"
wait "$broker" || [[ $? == 143 ]]

# The ids refer to classes of the same list only.
sed -E '/ source: /d; s/ id: [0-9]+$//' "$lists"/*.list | sort -u >"$lists/all"
java -Xshare:dump -XX:SharedClassListFile="$lists/all" -XX:SharedArchiveFile=/opt/kafka/kafka.jsa \
  -cp "$(printf '%s:' /opt/kafka/libs/*.jar)"
rm -rf "$lists" /opt/kafka/config/* /opt/kafka/logs
