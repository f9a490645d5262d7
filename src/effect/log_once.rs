//! What the log was told last of something that is tried again many times a second.

/// A trouble that lasts: each reason is said when it comes, not each time that it is met.
#[derive(Debug, Default)]
pub struct LogOnce(Option<String>);

// === impl LogOnce ===

impl LogOnce {
    /// Whether this is not what was said last; it is from now on.
    pub fn is_news(&mut self, why: &str) -> bool {
        let news = self.0.as_deref() != Some(why);
        if news {
            self.0 = Some(why.to_owned());
        }
        news
    }

    /// Whether there is a trouble.
    pub fn lasts(&self) -> bool {
        self.0.is_some()
    }

    /// Whether there was a trouble; from now on there is none.
    pub fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}
