//! Certificates are taken up when their files change, over real TLS and without a dropped
//! connection; one that cannot be used leaves the one before in place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

#[path = "../../../proxy/net/tests/tls/authority.rs"]
#[allow(dead_code, reason = "shared with the tests of the host")]
mod authority;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use authority::Authority;
use fixture::{ADMIN, DataPlane, eventually, get, origin::Origin, write};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;

/// A folder with an authority, whose certificates are for `localhost`.
struct House {
    folder: TempDir,
    authority: Authority,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.write(folder.path());
        Self { folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Issues `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) -> CertificateDer<'static> {
        self.authority.issue(self.folder.path(), name, &["localhost"]);
        certificate(&self.path(&format!("{name}.pem")))
    }

    /// Serves `origin` by https with what stands here.
    fn serve(self, origin: &Origin, certificate: &str, more: &str) -> (DataPlane, Authority) {
        let config = format!(
            "{ADMIN}[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
             routes = [{{ cluster = \"api\" }}]\n[listeners.web.tls]\n{more}\n\
             certificates = [{certificate}]\n\
             [clusters.api]\nendpoints = [\"{}\"]\n",
            origin.address
        );
        write(&self.path("bs9.toml"), &config);
        (DataPlane::serve_in(self.folder, "bs9.toml"), self.authority)
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// A connection that stays.
struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// Believes the authority of the house.
    fn connect(address: SocketAddr, data_plane: &DataPlane) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&data_plane.folder.path().join("ca.pem"))).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(fixture::DEADLINE))?;
        let mut client = Self(StreamOwned::new(connection, socket));
        client.get()?;
        Ok(client)
    }

    /// One request, answered by the origin.
    fn get(&mut self) -> std::io::Result<()> {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\nhello") {
            let mut room = [0; 1024];
            let count = self.0.read(&mut room)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            text.extend_from_slice(&room[..count]);
        }
        Ok(())
    }

    fn shown(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// What a new client is shown.
fn shown(address: SocketAddr, data_plane: &DataPlane) -> CertificateDer<'static> {
    Client::connect(address, data_plane).unwrap().shown()
}

fn metric(data_plane: &DataPlane, line: &str) -> Option<String> {
    let mut socket = UnixStream::connect(&data_plane.running.socket).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    socket.read_to_string(&mut metrics).unwrap();
    metrics.lines().find_map(|found| Some(found.strip_prefix(line)?.trim().to_owned()))
}

#[test]
fn a_renewed_certificate_is_taken_up_and_open_connections_go_on() {
    let origin = Origin::start("hello");
    let house = House::new();
    let first = house.issue("one");
    let second = house.issue("two");
    // As certbot has it: links to files that are never written again.
    fs::create_dir(house.path("live")).unwrap();
    let link = |folder: &Path, version: &str| {
        for kind in ["pem", "key"] {
            let beside = folder.join("live/next");
            symlink(format!("../{version}.{kind}"), &beside).unwrap();
            fs::rename(&beside, folder.join(format!("live/site.{kind}"))).unwrap();
        }
    };
    link(house.folder.path(), "one");
    let site = "{ certificate = \"live/site.pem\", key = \"live/site.key\" }";
    let (data_plane, _) = house.serve(&origin, site, "");
    let web = data_plane.running.address("web");
    let mut open = Client::connect(web, &data_plane).unwrap();
    assert_eq!(open.shown(), first);
    link(data_plane.folder.path(), "two");
    eventually("the renewed certificate is shown", || {
        (shown(web, &data_plane) == second).then_some(())
    });
    open.get().unwrap();
    assert_eq!(
        metric(&data_plane, "bs9_certificate_renewals_total{result=\"applied\"}").unwrap(),
        "1"
    );
    assert_eq!(metric(&data_plane, "bs9_certificate_stale_files").unwrap(), "0");
}

#[test]
fn a_secret_as_kubernetes_mounts_it_is_taken_up() {
    let origin = Origin::start("hello");
    let house = House::new();
    let versions: Vec<_> = ["..1", "..2"]
        .into_iter()
        .map(|version| {
            let issued = house.issue("site");
            fs::create_dir(house.path(version)).unwrap();
            fs::rename(house.path("site.pem"), house.path(&format!("{version}/tls.crt"))).unwrap();
            fs::rename(house.path("site.key"), house.path(&format!("{version}/tls.key"))).unwrap();
            issued
        })
        .collect();
    let lead_to = |folder: &Path, version: &str| {
        symlink(version, folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    };
    lead_to(house.folder.path(), "..1");
    for file in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{file}"), house.path(file)).unwrap();
    }
    let site = "{ certificate = \"tls.crt\", key = \"tls.key\" }";
    let (data_plane, _) = house.serve(&origin, site, "");
    let web = data_plane.running.address("web");
    assert_eq!(shown(web, &data_plane), versions[0]);
    lead_to(data_plane.folder.path(), "..2");
    eventually("the new secret is shown", || {
        (shown(web, &data_plane) == versions[1]).then_some(())
    });
}

#[test]
fn a_bad_file_keeps_the_one_before_and_is_told_until_it_is_put_right() {
    let origin = Origin::start("hello");
    let house = House::new();
    let first = house.issue("site");
    let site = "{ certificate = \"site.pem\", key = \"site.key\" }";
    let (data_plane, authority) = house.serve(&origin, site, "");
    let running = &data_plane.running;
    let web = running.address("web");
    // A change that the files do not hold: a renewal must not drop it.
    let other = Origin::start("hello");
    let added = other.address.to_string();
    running.ask(&["loadbalancer", "add", &added, "--cluster", "api"]).ok();
    write(&data_plane.folder.path().join("site.pem"), "-----BEGIN CERTIFICATE-----\n");
    let told = eventually("the bad file is told", || {
        let status = running.ask(&["status", "--json"]).json();
        let stale = &status["data_plane"]["status"]["generation"]["stale_certificates"];
        stale.as_array().filter(|stale| !stale.is_empty()).cloned()
    });
    assert_eq!(told[0]["key"], "listeners.web.tls");
    assert!(told[0]["file"].as_str().unwrap().ends_with("/site.pem"), "{told:?}");
    assert!(!told[0]["reason"].as_str().unwrap().is_empty());
    assert_eq!(shown(web, &data_plane), first);
    let text = running.ask(&["status"]).ok();
    assert!(text.contains("certificate not renewed: listeners.web.tls"), "{text}");
    assert!(running.log().contains("a file of a certificate cannot be used"));
    assert_eq!(
        metric(&data_plane, "bs9_certificate_renewals_total{result=\"refused\"}").unwrap(),
        "1"
    );
    assert_eq!(metric(&data_plane, "bs9_certificate_stale_files").unwrap(), "1");
    // Put right, while somebody edits the configuration.
    write(&data_plane.path(), "[listeners.web\n");
    authority.issue(data_plane.folder.path(), "site", &["localhost"]);
    let second = certificate(&data_plane.folder.path().join("site.pem"));
    eventually("the certificate that was put right is shown", || {
        (shown(web, &data_plane) == second).then_some(())
    });
    assert_eq!(metric(&data_plane, "bs9_certificate_stale_files").unwrap(), "0");
    let status = running.ask(&["status", "--json"]).json();
    let endpoints = &status["data_plane"]["status"]["clusters"][0]["endpoints"];
    assert!(endpoints.as_array().unwrap().iter().any(|one| one["address"] == added), "{status}");
}

#[test]
fn revoked_clients_and_new_authorities_of_endpoints_are_taken_up() {
    let origin = Origin::start("hello");
    let house = House::new();
    house.issue("site");
    house.authority.revoke(house.folder.path(), &[99]);
    let site = "{ certificate = \"site.pem\", key = \"site.key\" }";
    let inner = house.serve(
        &origin,
        site,
        "client_auth = { ca = \"ca.pem\", crls = [\"ca.crl\"] }\nsession_tickets = false",
    );
    let (inner, authority) = inner;
    let folder = inner.folder.path().display();
    // A proxy before it, whose certificate is the one of a client.
    let outer = DataPlane::serve(
        &format!(
            "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         routes = [{{ cluster = \"api\" }}]\n\
         [clusters.api]\nendpoints = [\"{}\"]\nmax_idle_connections = 0\n\
         [clusters.api.tls]\nca = \"trusted.pem\"\nserver_name = \"localhost\"\n\
         certificate = \"{folder}/site.pem\"\nkey = \"{folder}/site.key\"\n",
            inner.running.address("web")
        )
        .replace("trusted.pem", &format!("{folder}/ca.pem")),
    );
    let web = outer.running.address("web");
    assert_eq!(get(web, "/").status, 200);
    authority.revoke(inner.folder.path(), &[1]);
    eventually("the revoked client is refused", || (get(web, "/").status == 502).then_some(()));
    authority.revoke(inner.folder.path(), &[99]);
    eventually("it is let in again", || (get(web, "/").status == 200).then_some(()));
    // The endpoint is not believed any more.
    Authority::new().write(inner.folder.path());
    eventually("another authority is asked", || (get(web, "/").status == 502).then_some(()));
}
