//! Jira, Cloud and Data Center: a fake one in `fake`, held against Atlassian's description of the interface in `openapi`.

mod claims;
mod clients;
mod fake;
mod incident;
mod openapi;
mod race;
mod secrets;
mod shapes;
mod support;
mod webhooks;
