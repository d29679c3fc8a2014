//! What a command line becomes, and what every flag must have.

use clap::Arg;

use super::*;

fn read(args: &[&str]) -> Result<Command, clap::Error> {
    CommandLine::read(["promontory"].iter().chain(args).map(OsString::from))
}

fn flags(args: &[&str]) -> anyhow::Result<Flags> {
    match read(args)? {
        Command::Serve(flags) => Ok(*flags),
        other => panic!("{other:?} does not serve"),
    }
}

fn check(args: &[&str]) -> anyhow::Result<Config> {
    Config::check(&flags(args)?)
}

#[test]
fn no_argument_at_all_is_the_embedded_default() {
    let config = check(&[]).unwrap();
    assert_eq!(config.store, StoreUrl::Local("./data".into()));
    assert_eq!(config.web.listen_addresses, ["127.0.0.1:9090".parse().unwrap()]);
    assert_eq!(config.roles.to_string(), "all");
    assert_eq!(config.tenant.default.as_str(), "anonymous");
    assert_eq!(config.query.engine.lookback_delta, Duration::from_secs(300));
}

#[test]
fn defaults_are_those_of_the_crates() {
    // Beside the memory, which depends on the machine.
    let config = check(&["--head.max-memory=8GB"]).unwrap();
    let memory_total_bytes_max = config.query.engine.memory_total_bytes_max;
    let engine = promontory_query::EngineSettings {
        memory_total_bytes_max,
        ..promontory_query::EngineSettings::default()
    };
    assert_eq!(config.query.engine, engine);
    assert_eq!(config.ingester, IngesterSettings::default());
    assert_eq!(config.compactor, CompactorSettings::default());
    assert_eq!(config.sql, SqlSettings::default());
    let api = promontory_api::ApiSettings::default();
    assert_eq!(config.query.text_bytes_max, api.query_text_bytes_max);
    assert_eq!(config.write_in_flight_max, api.write_bytes_in_flight_max);
    assert_eq!(
        (config.tenant.federation, config.tenant.federated_max),
        (api.federation, api.federated_tenants_max)
    );
}

#[test]
fn an_idle_ingester_is_never_taken_for_dead() {
    let error = check(&["--compactor.adopt-after=20s"]).unwrap_err().to_string();
    for flag in ["--compactor.adopt-after", "--ingester.idle-interval"] {
        assert!(error.contains(flag), "{error}");
    }
    let config = check(&["--compactor.adopt-after=20s", "--ingester.idle-interval=5s"]).unwrap();
    assert_eq!(config.writer.idle_interval, Duration::from_secs(5));
    assert_eq!(check(&["--head.max-memory=8GB"]).unwrap().writer, WriterSettings::default());
}

#[test]
fn the_memory_of_the_head_reaches_every_role() {
    let config = check(&["--head.max-memory=1600MB"]).unwrap();
    assert_eq!(config.ingester.memory.labels(), 400 << 20);
    assert_eq!(config.writer.decoded_bytes_max, 400 << 20);
    assert_eq!(config.querier.reader.tail_bytes_max, 300 << 20);
    assert_eq!(config.compactor.memory.replay(), 200 << 20);
    assert_eq!(config.shown_flags["head.max-memory"], (1_600u64 << 20).to_string());
    let error = check(&["--head.max-memory=100MB"]).unwrap_err().to_string();
    assert!(error.contains("--head.max-memory must be at least 256MB"), "{error}");
}

#[test]
fn a_stop_ends_before_kubernetes_kills() {
    assert_eq!(check(&[]).unwrap().shutdown_timeout, Duration::from_secs(25));
    assert_eq!(check(&["--shutdown-timeout=1m"]).unwrap().shutdown_timeout, Duration::from_secs(60));
}

#[test]
fn roles_are_a_set() {
    let roles = |text: &str| check(&[&format!("--role={text}")]).map(|config| config.roles);
    let some = roles("querier,ingester,querier").unwrap();
    assert_eq!(some.iter().collect::<Vec<_>>(), [Role::Ingester, Role::Querier]);
    assert!(some.contains(Role::Querier) && !some.contains(Role::Compactor));
    for (text, shown) in [
        ("all", "all"),
        ("compactor,all", "all"),
        ("compactor", "compactor"),
        ("querier,ingester", "ingester,querier"),
        ("ingester,querier,compactor", "all"),
    ] {
        assert_eq!(roles(text).unwrap().to_string(), shown);
    }
    for wrong in ["", "ingester,", "scraper", "Ingester"] {
        assert!(roles(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn caches_are_shares_of_the_memory_unless_a_flag_says_otherwise() {
    let caches = flags(&["--cache.series=2MB", "--cache.ranges=7"]).unwrap().cache;
    let bytes = |memory| cache::sizes(&caches.with_memory(memory)).map(|(_, bytes)| bytes);
    assert_eq!(bytes(16 << 30), [256 << 20, 2 << 20, 7, 2 << 30]);
    assert_eq!(bytes(1), [16 << 20, 2 << 20, 7, 16 << 20]);
}

#[test]
fn every_flag_is_shown_with_its_value_in_effect() {
    let args =
        ["--query.timeout=90s", "--role=querier,ingester", "--store=s3://b/p?secret=x", "--cache.ranges=1KB"];
    for words in [&[][..], &["serve"]] {
        let shown = check(&[words, &args].concat()).unwrap().shown_flags;
        for flag in command().get_arguments().filter_map(Arg::get_long) {
            assert!(["help", "version"].contains(&flag) || shown.contains_key(flag), "{flag}");
        }
        for (flag, value) in [
            ("query.timeout", "1m30s"),
            ("role", "querier,ingester"),
            ("store", "s3://b/p"),
            ("cache.ranges", "1024"),
            ("auth.multitenancy-enabled", "false"),
            ("tenant-federation.enabled", "false"),
            ("tenant-federation.max-tenants", "0"),
            ("enable-feature", ""),
            ("limits.write-body", "16777216"),
            ("limits.future-samples", "10m"),
            ("log.format", "logfmt"),
        ] {
            assert_eq!(shown[flag], value, "{flag}");
        }
        // What a share of the memory comes to is a number of bytes.
        assert!(shown.iter().all(|(_, value)| value != "auto"), "{shown:?}");
    }
}

#[test]
fn flags_that_refusals_name_are_flags() {
    let command = command();
    let limits = promontory_api::LIMIT_FLAGS.map(|(_, flag)| flag);
    let others = [promontory_api::HOSTS_FLAG, promontory_api::ORIGIN_FLAG];
    for flag in limits.into_iter().chain(others).chain(promontory_query::LIMIT_FLAGS) {
        let known = command.get_arguments().any(|arg| arg.get_long() == Some(flag.trim_start_matches("--")));
        assert!(known, "{flag}");
    }
}

#[test]
fn every_flag_of_serving_has_its_environment_variable() {
    let command = command();
    let serve = command.find_subcommand("serve").unwrap();
    let mut variables = Vec::new();
    for flag in command.get_arguments().chain(serve.get_arguments()) {
        let Some(long) = flag.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
        let variable =
            flag.get_env().and_then(|variable| variable.to_str()).unwrap_or_else(|| panic!("{long}"));
        variables.push(variable);
    }
    for expected in ["PROMONTORY_STORE", "PROMONTORY_QUERY_MAX_SAMPLES", "PROMONTORY_WEB_CORS_ORIGIN"] {
        assert_eq!(variables.iter().filter(|variable| **variable == expected).count(), 2, "{expected}");
    }
}

#[test]
fn commands_take_the_store_of_serving() {
    let store = |args: &[&str]| match read(args).unwrap() {
        Command::Fsck(store) | Command::Blocks { command: BlocksCommand::Ls { store, .. } } => store.check(),
        other => panic!("{other:?}"),
    };
    for args in [&["fsck"][..], &["blocks", "ls", "--files"]] {
        assert_eq!(store(args).unwrap(), StoreUrl::Local("./data".into()));
        assert_eq!(store(&[args, &["--store=/x"]].concat()).unwrap(), StoreUrl::Local("/x".into()));
    }
    let command = command();
    let of_fsck =
        command.find_subcommand("fsck").unwrap().get_arguments().find(|arg| arg.get_id() == "store");
    assert_eq!(of_fsck.unwrap().get_env().unwrap(), "PROMONTORY_STORE");
}

#[test]
fn wrong_values_name_their_flag() {
    for (args, expected) in [
        (&["--query.timeout=soon"][..], "query.timeout"),
        (&["--ingester.flush-interval=1ms"], "flush-interval"),
        (&["--store=ftp://x"], "scheme"),
        (&["--tenant.default=a/b"], "tenant.default"),
        (&["--enable-feature=warp"], "warp"),
        (&["--web.listen-address=nowhere"], "listen-address"),
        (&["--limits.write-body=0"], "limits.write-body"),
        (&["--limits.write-in-flight=1000"], "limits.write-in-flight"),
        (&["--web.cors.origin=("], "web.cors.origin"),
        (&["--web.allowed-hosts=a.example,http://b"], "web.allowed-hosts"),
        (&["--cache.samples=lots"], "cache.samples"),
        (&["--cache.samples=5XB"], "cache.samples"),
        (&["--cache.samples=99999999999TB"], "cache.samples"),
        (&["--no-such-flag"], "no-such-flag"),
    ] {
        let error = format!("{:#}", check(args).unwrap_err());
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}

#[test]
fn sizes_and_switches_are_taken_in_the_usual_notations() {
    let config =
        check(&["--query.max-memory=2GB", "--limits.write-body=1mb", "--query.max-length=70000"]).unwrap();
    assert_eq!(config.query.engine.memory_bytes_max, 2 << 30);
    assert_eq!((config.ingester.limits.body_bytes_max, config.query.text_bytes_max), (1 << 20, 70_000));
    for (text, is_on) in
        [("", true), ("=1", true), ("=true", true), ("=yes", true), ("=0", false), ("=false", false)]
    {
        let flag = format!("--auth.multitenancy-enabled{text}");
        let config = check(&[flag.as_str()]).unwrap();
        assert_eq!(config.tenant.multitenancy, is_on, "{flag}");
        assert_eq!(config.shown_flags["auth.multitenancy-enabled"], is_on.to_string());
    }
    assert!(!check(&[]).unwrap().tenant.multitenancy);
    assert!(check(&["--auth.multitenancy-enabled", "false"]).is_err());
}

#[test]
fn no_block_is_waited_for_longer_than_a_day() {
    assert!(check(&["--ingester.block-interval=1d"]).is_ok());
    let error = check(&["--ingester.block-interval=10d"]).unwrap_err().to_string();
    assert!(error.contains("--ingester.block-interval") && error.contains("1d, not 10d"), "{error}");
}

#[test]
fn memory_that_is_not_there_is_refused_and_too_much_of_it_is_said() {
    let sizes = [("head.max-memory", 600), ("cache.samples", 500)];
    assert_eq!(check_memory(&sizes, None).unwrap(), None);
    assert_eq!(check_memory(&sizes, Some(1_100)).unwrap(), None);
    let said = check_memory(&sizes, Some(1_099)).unwrap().unwrap();
    assert!(said.contains("--head.max-memory, --cache.samples are 1100 bytes together"), "{said}");
    let refused = check_memory(&sizes, Some(599)).unwrap_err().to_string();
    assert!(refused.contains("--head.max-memory is 600 bytes"), "{refused}");
}
