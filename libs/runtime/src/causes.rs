//! What an error's sources say: the one walk along a chain of causes.

use std::error::Error;

/// The error itself, then each source, outermost first.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |link| {
        let link: &'a (dyn Error + 'static) = *link;
        link.source()
    })
}

/// The texts of an error's sources, outermost first, without the error's own text. Empty for an error without a source.
///
/// A transparent wrapper repeats the text of the error that it wraps: such a text comes once.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    cause_texts(error).join(": ")
}

/// As [`causes`], one text for each source.
pub(crate) fn cause_texts(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.split_off(1)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot read the file")]
        Read(#[source] io::Error),
        #[error(transparent)]
        Same(#[from] Inner),
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write the file")]
    struct Inner(#[source] io::Error);

    #[test]
    fn sources_come_outermost_first_and_a_transparent_wrapper_adds_no_text() {
        let full =
            || io::Error::new(io::ErrorKind::StorageFull, Inner(io::Error::other("no room")));
        assert_eq!(causes(&io::Error::other("alone")), "");
        assert_eq!(causes(&Outer::Read(io::Error::other("no room"))), "no room");
        assert_eq!(causes(&Outer::Same(Inner(io::Error::other("no room")))), "no room");
        // An `io::Error` prints what it wraps, and names the next one as its source.
        assert_eq!(causes(&Outer::Read(full())), "cannot write the file: no room");
        assert_eq!(chain(&Outer::Read(full())).count(), 3);
    }
}
