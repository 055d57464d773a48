#!/usr/bin/env bash
# Run the program named by this script's own name; every name in /opt/kafka/bin is a link to it.
set -euo pipefail

home=/opt/kafka
tool_options=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=/etc/kafka/docker/tools-log4j2.yaml)

options=("${tool_options[@]}")
logs=()
case "${0##*/}" in
  kafka-acls.sh) program=(org.apache.kafka.tools.AclCommand) ;;
  kafka-configs.sh) program=(kafka.admin.ConfigCommand) ;;
  kafka-console-consumer.sh) program=(org.apache.kafka.tools.consumer.ConsoleConsumer) ;;
  kafka-console-producer.sh) program=(org.apache.kafka.tools.ConsoleProducer) ;;
  kafka-consumer-groups.sh) program=(org.apache.kafka.tools.consumer.group.ConsumerGroupCommand) ;;
  kafka-features.sh) program=(org.apache.kafka.tools.FeatureCommand) ;;
  kafka-storage.sh) program=(kafka.tools.StorageTool) ;;
  kafka-topics.sh) program=(org.apache.kafka.tools.TopicCommand) ;;
  kafka-docker-setup.sh) program=(kafka.docker.KafkaDockerWrapper setup) ;;
  kafka-server-start.sh)
    program=(kafka.Kafka)
    # As in the published image, whose start script sets KAFKA_JVM_PERFORMANCE_OPTS: Java chooses the collector.
    options=()
    folder=${LOG_DIR:-$home/logs}
    mkdir -p "$folder" || :
    read -ra logs <<<"${KAFKA_GC_LOG_OPTS:--Xlog:gc*:file=$folder/kafkaServer-gc.log:time,tags:filecount=10,filesize=100M} \
      ${KAFKA_LOG4J_OPTS:--Dlog4j2.configurationFile=$home/config/log4j2.yaml} -Dkafka.logs.dir=$folder"
    ;;
  *)
    echo "no program is called ${0##*/}" >&2
    exit 1
    ;;
esac

# A class archive is valid only for the class path that it was created with, hence the sorted order.
class_path=$(printf '%s:' "$home"/libs/*.jar)
# These variables contain lists of options.
read -ra given <<<"${KAFKA_HEAP_OPTS:--Xms1G -Xmx1G} ${KAFKA_JVM_PERFORMANCE_OPTS:-} ${KAFKA_OPTS:-}"
exec java "${options[@]}" -XX:SharedArchiveFile=$home/kafka.jsa -Djava.awt.headless=true "${given[@]}" \
  "${logs[@]}" -cp "$class_path" "${program[@]}" "$@"
