//! How the program ends: the three exit codes, and which error leads to which.

use std::process::ExitCode;

use server::client::ClientError;

/// The program's end, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Done,
    /// It could not be done.
    Failed,
    /// The arguments or a configuration file are wrong; nothing was changed.
    BadInput,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            // Clap's own code for wrong arguments.
            Exit::BadInput => Self::from(2),
        }
    }
}

/// What the user gave was wrong, in a sentence that says what and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

impl From<&anyhow::Error> for Exit {
    fn from(error: &anyhow::Error) -> Self {
        if error.chain().any(is_bad_input) { Self::BadInput } else { Self::Failed }
    }
}

/// Whether the error is only that nobody reads on.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn is_bad_input(cause: &(dyn std::error::Error + 'static)) -> bool {
    let refused = matches!(cause.downcast_ref(), Some(ClientError::Refused { status: 400, .. }));
    refused
        || cause.is::<BadInput>()
        || cause.is::<server::client::InvalidRemote>()
        || cause.is::<depot::BadPlace>()
        || cause.is::<server::config::Mistakes>()
        || cause.is::<image::Mistakes>()
        || cause.is::<image::card::device::Refused>()
        || cause.is::<image::shelf::NoImage>()
        || cause.is::<image::shelf::AlreadyThere>()
        || matches!(cause.downcast_ref(), Some(image::BuildError::Mistakes(_)))
}
