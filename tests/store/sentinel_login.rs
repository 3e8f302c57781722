//! Sentinels that have users and a password of their own, and a database behind them.
//!
//! Never here: fail-overs ([`crate::links_fleet`]).

use std::time::Duration;

use postern::state::{
    RedisStore,
    redis::{Address, Initialised, Options, Servers},
};

use crate::{
    sentinel::Sentinel,
    servers::{Server, at, open, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_have_a_login_of_their_own_and_servers_behind_them_databases() {
    let primary = Server::start(&["--requirepass", "of-servers"]);
    let more = "sentinel auth-pass gate of-servers\nuser default off\nuser guide on >of-sentinels +@all allchannels\n";
    let sentinel = Sentinel::with(primary.port, more);
    let servers = Servers::Sentinel {
        name: "gate".to_owned(),
        addresses: vec![Address { host: "127.0.0.1".to_owned(), port: sentinel.port }],
    };
    let secret = |text: &str| zeroize::Zeroizing::new(text.to_owned());
    let options = |guide| Options {
        servers: servers.clone(),
        password: Some(secret("of-servers")),
        guide,
        database: 3,
        ..at(primary.port)
    };
    let right = || options(Some((Some("guide".to_owned()), secret("of-sentinels"))));
    until("the sentinel is up", || {
        let client =
            redis::Client::open(format!("redis://guide:of-sentinels@127.0.0.1:{}", sentinel.port)).unwrap();
        let asked = |mut connection| redis::cmd("PING").query::<String>(&mut connection);
        client.get_connection().and_then(asked).is_ok()
    });
    for wrong in
        [None, Some((None, secret("of-sentinels"))), Some((Some("guide".to_owned()), secret("of-servers")))]
    {
        let refused = RedisStore::init(Options { connect_timeout: Duration::from_secs(1), ..options(wrong) })
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("sentinel"), "{refused}");
    }
    assert!(matches!(RedisStore::init(right()).await.unwrap(), Initialised::Made(_)));
    open(right()).await;
    let told = primary.tell(&["INFO", "keyspace"]);
    assert!(told.contains("db3:") && !told.contains("db0:"), "{told}");
}
