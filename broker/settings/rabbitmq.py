"""RabbitMQ's keys that Leveret doesn't have: of its schemas from 3.10 to 4.3, all plugins included.

Written as heads, a colon, and what follows them: `a b: c d` is a.c, a.d, b.c and b.d. A `*` stands for one part of a key.
"""

from __future__ import annotations

import re
from typing import Final

_KEYS: Final = """
    : background_gc_enabled background_gc_target_interval cluster_exchange_limit cluster_keepalive_interval cluster_partition_handling
        cluster_queue_limit collect_statistics collect_statistics_interval consumer_disconnected_timeout default_worker_pool_size
        delegate_count hipe_compile initial_frame_max khepri_default_timeout lazy_queue_explicit_gc_run_operation_threshold
        link_max_per_session memory_monitor_interval message_store_shutdown_timeout mirroring_sync_batch_size
        mirroring_sync_max_throughput mnesia_table_loading_retry_limit mnesia_table_loading_retry_timeout motd_file
        msg_store_file_size_limit net_ticktime prevent_startup_if_node_was_reset queue_index_embed_msgs_below
        queue_index_max_journal_entries queue_leader_locator queue_master_locator quorum_commands_soft_limit ranch_connection_max
        reverse_dns_lookups session_max_per_connection ssl_allow_poodle_attack total_memory_available_override_value trace_vhosts
        vhost_restart_strategy vm_memory_calculation_strategy vm_memory_high_watermark_paging_ratio
    amqp10_client amqp_client: ssl_options
    amqp10_client.ssl_options amqp_client.ssl_options: cacertfile cert certfile crl_check depth keyfile log_alert password
        psk_identity reuse_sessions secure_renegotiate sni verify
    amqp10_client.ssl_options.cacerts amqp10_client.ssl_options.versions amqp_client.ssl_options.cacerts
        amqp_client.ssl_options.versions auth_http.ssl_options.cacerts auth_http.ssl_options.ciphers auth_http.ssl_options.versions
        auth_ldap.servers auth_ldap.ssl_options.cacerts auth_ldap.ssl_options.ciphers auth_ldap.ssl_options.versions
        auth_oauth2.algorithms auth_oauth2.discovery_endpoint_params auth_oauth2.oauth_providers.*.algorithms
        auth_oauth2.oauth_providers.*.discovery_endpoint_params auth_oauth2.oauth_providers.*.signing_keys
        auth_oauth2.preferred_username_claims auth_oauth2.resource_servers.*.preferred_username_claims
        auth_oauth2.resource_servers.*.scope_aliases auth_oauth2.scope_aliases auth_oauth2.signing_keys
        cluster_formation.aws.ec2_instance_states cluster_formation.aws.hostname_path cluster_formation.aws.instance_tags
        cluster_formation.classic_config.nodes cluster_formation.consul.ssl_options.cacerts
        cluster_formation.consul.ssl_options.ciphers cluster_formation.consul.ssl_options.versions cluster_formation.consul.svc_meta
        cluster_formation.consul.svc_tags cluster_formation.etcd.endpoints cluster_formation.etcd.ssl_options.cacerts
        cluster_formation.etcd.ssl_options.ciphers cluster_formation.etcd.ssl_options.versions
        cluster_formation.proxy.proxy_exclusions cluster_partition_handling.pause_if_all_down.nodes cluster_tags
        definitions.tls.cacerts definitions.tls.ciphers definitions.tls.versions deprecated_features.permit
        http_dispatch.auth_backends log.syslog.ssl_options.cacerts log.syslog.ssl_options.versions management.cors.allow_origins
        management.listener.ssl_opts.cacerts management.listener.ssl_opts.versions management.oauth_authorization_endpoint_params
        management.oauth_resource_servers.*.oauth_authorization_endpoint_params
        management.oauth_resource_servers.*.oauth_token_endpoint_params management.oauth_token_endpoint_params
        management.sample_retention_policies.* management.ssl.ciphers management.ssl.versions message_interceptors.*.*
        mqtt.listeners.ssl mqtt.listeners.tcp mqtt.message_interceptors.*.* node_tags prometheus.ssl.ciphers prometheus.ssl.versions
        runtime_parameters.limits ssl_options.cacerts ssl_options.crl_sources stomp.listeners.ssl stomp.listeners.tcp
        stream.listeners.ssl stream.listeners.tcp trust_store.providers trust_store.ssl_options.cacerts
        trust_store.ssl_options.ciphers trust_store.ssl_options.versions web_mqtt.allow_origins web_mqtt.ssl.ciphers
        web_mqtt.ssl.versions web_stomp.allow_origins web_stomp.ssl.ciphers web_stomp.ssl.versions: *
    amqp10_client.ssl_options.key amqp_client.ssl_options.key auth_http.ssl_options.key auth_ldap.ssl_options.key
        cluster_formation.consul.ssl_options.key cluster_formation.etcd.ssl_options.key log.syslog.ssl_options.key
        management.listener.ssl_opts.key ssl_options.key trust_store.ssl_options.key: DSAPrivateKey PrivateKeyInfo RSAPrivateKey
    amqp1_0: convert_amqp091_headers_to_app_props convert_app_props_to_amqp091_headers default_user default_vhost protocol_strict_mode
    auth_cache: cache_module cache_refusals
    auth_http: authorization_failure_disclosure ssl_options
    auth_http.ssl_options: cert client_renegotiation crl_check depth dh dhfile fail_if_no_peer_cert honor_cipher_order honor_ecc_order
        hostname_verification log_alert password psk_identity reuse_sessions secure_renegotiate sni
    auth_ldap: connection_pool_size dn_lookup_attribute dn_lookup_base dn_lookup_bind group_lookup_base idle_timeout log other_bind
        port servers ssl_options timeout use_ssl use_starttls user_bind_pattern user_dn_pattern
    auth_ldap.dn_lookup_bind auth_ldap.other_bind: password user_dn
    auth_ldap.queries: resource_access tags topic_access vhost_access
    auth_ldap.ssl_options: cacertfile cert certfile client_renegotiation crl_check depth dh dhfile fail_if_no_peer_cert
        honor_cipher_order honor_ecc_order hostname_verification keyfile log_alert password psk_identity reuse_sessions
        secure_renegotiate sni verify
    auth_oauth2: additional_scopes_key authorization_endpoint default_key default_oauth_provider discovery_endpoint_path
        end_session_endpoint issuer jwks_uri jwks_url require_exp resource_server_id resource_server_type scope_prefix token_endpoint
        verify_aud
    auth_oauth2.https: cacertfile crl_check depth fail_if_no_peer_cert hostname_verification peer_verification verify
    auth_oauth2.oauth_providers.*: authorization_endpoint default_key discovery_endpoint_path end_session_endpoint issuer jwks_uri
        token_endpoint
    auth_oauth2.oauth_providers.*.https: cacertfile crl_check depth hostname_verification verify
    auth_oauth2.resource_servers.*: additional_scopes_key id oauth_provider_id require_exp resource_server_type scope_prefix
        verify_aud
    auth_oauth2.resource_servers.*.scope_aliases.* auth_oauth2.scope_aliases.*: alias scope
    aws: prefer_imdsv2
    classic_queue: default_version
    cluster_formation: discovery_retry_interval discovery_retry_limit internal_lock_retries lock_retry_limit lock_retry_timeout
        node_type peer_discovery_backend target_cluster_size_hint
    cluster_formation.aws: access_key_id hostname_path instance_tags region secret_key use_autoscaling_group use_private_ip
    cluster_formation.consul: acl_token cluster_name deregister_after domain_suffix host include_nodes_with_warnings lock_prefix
        lock_timeout lock_wait_time port scheme ssl_options svc svc_addr svc_addr_auto svc_addr_nic svc_addr_use_nodename svc_id
        svc_meta svc_port svc_tags svc_ttl use_longname
    cluster_formation.consul.ssl_options cluster_formation.etcd.ssl_options: cacertfile cert certfile crl_check depth dh dhfile
        fail_if_no_peer_cert keyfile log_alert password psk_identity reuse_sessions secure_renegotiate verify
    cluster_formation.dns: hostname
    cluster_formation.etcd: cluster_name endpoints host key_prefix lock_timeout lock_wait_time node_ttl password port scheme
        ssl_options username
    cluster_formation.k8s: address_type cert_path host hostname_suffix namespace_path ordinal_start port scheme seed_node service_name
        token_path
    cluster_formation.k8s.tls: cacertfile certfile fail_if_no_peer_cert keyfile verify
    cluster_formation.node_cleanup: interval only_log_warning
    cluster_formation.proxy: http_proxy https_proxy
    cluster_formation.randomized_startup_delay_range distribution.listener.port_range stream.replication.port_range: max min
    cluster_formation.registration exchange_types.local_random prometheus.authentication queue_types.classic queue_types.quorum
        queue_types.stream: enabled
    cluster_partition_handling.pause_if_all_down: recover
    credential_validator: min_length regexp validation_backend
    default_policies.operator.*: max_in_memory_bytes max_in_memory_length
    default_policies.operator.*.classic_queues: ha_mode ha_params ha_sync_mode queue_version
    definitions.hashing: algorithm
    definitions.https: url
    definitions.tls: cacertfile cert certfile crl_check depth dh fail_if_no_peer_cert keyfile log_alert log_level password
        reuse_session reuse_sessions secure_renegotiate verify
    distribution.listener: interface
    erlang: K
    event_exchange: protocol vhost
    federation.exchanges federation.queues: connection_close_timeout
    federation.exchanges.shutdown federation.queues.shutdown federation.shutdown: link_batch_size throttle_delay timeout
    http_dispatch: access_log_dir
    http_dispatch.auth_backends.*: authn authz
    log: error_logger_format_depth journald summarize_process_state syslog
    log.channel log.connection log.queue log.upgrade: file
    log.channel.rotation log.connection.rotation log.default.rotation log.federation.rotation log.mirroring.rotation
        log.queue.rotation log.ra.rotation log.upgrade.rotation log.user.rotation: compress count date size
    log.console: stdio use_colors
    log.console.color_esc_seqs: alert critical debug emergency error info notice warning
    log.console.formatter log.exchange.formatter log.file.formatter log.syslog.formatter: level_format single_line time_format
    log.console.formatter.json log.exchange.formatter.json log.file.formatter.json log.syslog.formatter.json: field_map verbosity_map
    log.console.formatter.plaintext log.exchange.formatter.plaintext log.file.formatter.plaintext log.syslog.formatter.plaintext:
        format
    log.exchange: formatter
    log.federation log.mirroring log.ra log.user: file level
    log.file.rotation: compress
    log.journald: fields level
    log.syslog: facility formatter host identity ip level multiline_mode port protocol transport
    log.syslog.ssl_options management.listener.ssl_opts: cacertfile cert certfile client_renegotiation crl_check depth dh dhfile
        fail_if_no_peer_cert honor_cipher_order honor_ecc_order keyfile log_alert password psk_identity reuse_sessions
        secure_renegotiate verify
    management: credential_encryption_secret db_cache_multiplier delegate_count disable_basic_auth disable_stats enable_queue_totals
        enable_uaa http_log_dir login_session_timeout oauth_client_id oauth_client_secret oauth_disable_basic_auth oauth_enabled
        oauth_initiated_logon_type oauth_metadata_url oauth_provider_url oauth_response_type oauth_scopes path_prefix rates_mode
        require_auth_for_api_reference uaa_client_id uaa_location
    management.cors: allow_origins max_age
    management.csp management.hsts web_mqtt.hsts web_stomp.hsts: policy
    management.definitions: require_json_extension
    management.headers: content_type_options frame_options referrer_policy xss_protection
    management.http: hide_allow_header max_body_size
    management.listener: ip port ssl ssl_opts
    management.listener.server: compress idle_timeout inactivity_timeout max_keepalive request_timeout shutdown_timeout
    management.oauth_resource_servers.*: disabled id label oauth_client_id oauth_client_secret oauth_initiated_logon_type
        oauth_metadata_url oauth_provider_url oauth_response_type oauth_scopes
    management.restrictions.operator_policy_changes management.restrictions.quorum_queue_replica_operations: disabled
    management.ssl prometheus.ssl: backlog cacertfile certfile client_renegotiation compress depth fail_if_no_peer_cert
        honor_cipher_order honor_ecc_order idle_timeout inactivity_timeout ip keyfile max_connections max_keepalive password port
        request_timeout reuse_sessions secure_renegotiate shutdown_timeout verify
    management.tcp: compress idle_timeout inactivity_timeout ip max_connections max_keepalive port request_timeout shutdown_timeout
    management_agent: disable_metrics_collector filter_aggregated_queue_metrics_pattern
    message_interceptors.incoming.*: overwrite
    metadata_store.khepri: default_timeout snapshot_interval
    mqtt: allow_anonymous default_pass default_user disconnect_on_unauthorized durable_queue_type exchange login_timeout
        mailbox_soft_limit max_connections max_packet_size_authenticated max_packet_size_unauthenticated
        max_session_expiry_interval_seconds prefetch proxy_protocol retained_message_store retained_message_store_dets_sync_interval
        sparkplug ssl_cert_client_id_from ssl_cert_login ssl_cert_login_san_index ssl_cert_login_san_type subscription_ttl
        tcp_listen_options topic_alias_maximum vhost
    mqtt.listeners mqtt.num_acceptors num_acceptors stomp.listeners stomp.num_acceptors stream.listeners stream.num_acceptors
        web_mqtt.num_acceptors web_stomp.num_acceptors: ssl tcp
    mqtt.tcp_listen_options stomp.tcp_listen_options stream.tcp_listen_options: backlog buffer delay_send dontroute exit_on_close fd
        high_msgq_watermark high_watermark keepalive low_msgq_watermark low_watermark nodelay port priority recbuf send_timeout
        send_timeout_close sndbuf tos
    mqtt.tcp_listen_options.linger stomp.tcp_listen_options.linger stream.tcp_listen_options.linger: on timeout
    product: name version
    prometheus: filter_aggregated_queue_metrics_pattern path return_per_object_metrics
    prometheus.tcp: compress idle_timeout inactivity_timeout ip listener max_connections max_keepalive port request_timeout
        shutdown_timeout
    quorum_queue: commands_soft_limit compress_mem_tables compute_checksums initial_cluster_size max_append_entries_rpc_batch_size
        segment_compute_checksums segment_max_entries segment_max_size_bytes snapshot_chunk_size wal_compute_checksums
        wal_max_batch_size wal_max_entries wal_max_size_bytes
    quorum_queue.continuous_membership_reconciliation: auto_remove enabled interval target_group_size trigger_interval
    quorum_queue.property_equivalence: relaxed_checks_on_redeclaration
    raft: data_dir segment_max_entries snapshot_chunk_size wal_hibernate_after wal_max_batch_size wal_max_entries wal_max_size_bytes
    raft.adaptive_failure_detector: detection_threshold heartbeat_interval poll_interval scaling_factor
    shovel: delete_after_duration_floor operating_mode
    shovel.local: max_credit
    shovel.topology: predeclared
    socket_writer: gc_threshold
    ssl_options: bypass_pem_cache cert client_renegotiation crl_check dh dhfile honor_ecc_order log_alert log_level psk_identity
        reuse_sessions secure_renegotiate
    ssl_options.crl_sources.*: path timeout
    stomp: default_nack_requeue default_pass default_topic_exchange default_user default_vhost hide_server_info implicit_connect
        login_timeout max_frame_size max_frame_size_unauthenticated proxy_protocol ssl_cert_login tcp_listen_options
    stream: advertised_host advertised_port advertised_tls_host advertised_tls_port credits_required_for_unblocking data_dir frame_max
        heartbeat initial_credits initial_frame_max max_connections max_super_stream_partitions max_uncompressed_sub_entry_batch_size
        read_ahead read_ahead_limit ssl_cert_login tcp_listen_options
    stream.replication: address_family
    sysmon_handler.thresholds: busy_ports busy_processes
    sysmon_handler.triggers: distribution_port port
    sysmon_handler.triggers.process: garbage_collection heap_size long_scheduled_execution
    tcp_listen_options: buffer delay_send dontroute fd high_msgq_watermark high_watermark low_msgq_watermark low_watermark port
        priority send_timeout send_timeout_close tos
    tracing: dir password username
    trust_store: directory https_request_timeout refresh_interval ssl_options url
    trust_store.ssl_options: cacertfile cert certfile client_renegotiation crl_check depth dh dhfile fail_if_no_peer_cert
        honor_cipher_order keyfile log_alert password psk_identity reuse_sessions secure_renegotiate verify
    web_mqtt: allow_origins max_connections proxy_protocol use_file_handle_cache ws_path
    web_mqtt.cowboy_opts web_stomp.cowboy_opts: idle_timeout max_empty_lines max_header_name_length max_header_value_length
        max_headers max_keepalive max_request_line_length timeout
    web_mqtt.ssl web_stomp.ssl: backlog cacertfile certfile client_renegotiation crl_check depth honor_cipher_order honor_ecc_order ip
        keyfile listener password port reuse_sessions secure_renegotiate
    web_mqtt.tcp web_stomp.tcp: backlog ip listener port
    web_mqtt.ws_opts web_stomp.ws_opts: compress idle_timeout max_frame_size
    web_stomp: allow_origins max_connections port proxy_protocol use_file_handle_cache use_http_auth ws_frame ws_path
"""

_ALL: Final = frozenset(
    f"{head}.{last}" if head else last
    for heads, lasts in re.findall(r"^ {4}(?! )([^:]*):([^:]*?)(?=^ {4}(?! )|\Z)", _KEYS, flags=re.MULTILINE)
    for head in heads.split() or [""]
    for last in lasts.split()
)
KEYS: Final = frozenset(key for key in _ALL if "*" not in key)
FAMILIES: Final = tuple(tuple(key.split(".")) for key in sorted(_ALL) if "*" in key)
"""Each as its parts."""
