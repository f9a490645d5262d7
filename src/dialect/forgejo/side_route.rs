//! A call or a form whose effect is on items that it does not name, before its body is read.

/// Which call or form it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideForm {
    /// DELETE of a branch, whose name may have slashes.
    DeleteBranch,
    /// DELETE of a repository.
    DeleteRepository,
    /// PATCH of a repository's label.
    EditLabel,
    /// DELETE of a repository's label.
    DeleteLabel,
    /// PATCH of an organisation's label.
    EditSharedLabel,
    /// DELETE of an organisation's label.
    DeleteSharedLabel,
    /// POST of what the item depends on.
    DependOn,
    /// POST of what the item blocks: the other one depends on it.
    Block,
    /// The web's form that deletes a branch.
    WebDeleteBranch,
    /// The web's button that deletes the branch of a finished pull request.
    WebCleanUp,
    /// The web's settings of a repository, of which one form deletes it.
    WebSettings,
    /// The web's form of a repository's label.
    WebEditLabel,
    /// The web's button that deletes it.
    WebDeleteLabel,
    /// The web's form of an organisation's label.
    WebEditSharedLabel,
    /// The web's button that deletes it.
    WebDeleteSharedLabel,
    /// The web's form that adds a dependency.
    WebDependency,
    /// The web's form of an issue's branch.
    WebRef,
}

/// A write that changes items which it does not name, before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRoute {
    pub(super) form: SideForm,
    /// Of the path, decoded once.
    pub(super) segments: Vec<String>,
}

impl SideForm {
    /// Whether a page of the web interface sends it.
    pub(super) fn is_web(self) -> bool {
        match self {
            Self::DeleteBranch
            | Self::DeleteRepository
            | Self::EditLabel
            | Self::DeleteLabel
            | Self::EditSharedLabel
            | Self::DeleteSharedLabel
            | Self::DependOn
            | Self::Block => false,
            Self::WebDeleteBranch
            | Self::WebCleanUp
            | Self::WebSettings
            | Self::WebEditLabel
            | Self::WebDeleteLabel
            | Self::WebEditSharedLabel
            | Self::WebDeleteSharedLabel
            | Self::WebDependency
            | Self::WebRef => true,
        }
    }
}

impl SideRoute {
    /// Whether it only adds a dependency.
    pub(super) fn is_dependency(&self) -> bool {
        matches!(self.form, SideForm::DependOn | SideForm::Block | SideForm::WebDependency)
    }

    /// Whether a page of the web interface sends it.
    pub(super) fn is_form(&self) -> bool {
        self.form.is_web()
    }
}
