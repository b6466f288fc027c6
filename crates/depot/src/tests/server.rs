//! A real S3 server, s3s-fs, in this process on a port of its own. It checks signatures, dates and buckets.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The one bucket.
pub(super) const BUCKET: &str = "images";
/// Who may ask, and the secret.
pub(super) const KEY: &str = "house";
/// See [`KEY`].
pub(super) const SECRET: &str = "correct-horse-battery-staple";

/// Ends when it is dropped.
pub(super) struct Server {
    pub(super) port: u16,
    _runtime: Runtime,
}

impl Server {
    /// Starts one that keeps its objects as files in a folder.
    pub(super) fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join(BUCKET)).expect("made");
        let runtime = Runtime::new().expect("a runtime");
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).expect("a folder"));
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = builder.build();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that goes away is what these tests are about.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { port, _runtime: runtime }
    }
}
