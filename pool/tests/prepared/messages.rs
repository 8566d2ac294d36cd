//! Messages as drivers write them.

use bs9_wire::{encode::frontend, message::frontend::Target, tag::FrontendTag};

use crate::postgres::Dialogue;

/// Messages to be sent in one piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch(pub(super) Vec<u8>);

impl Batch {
    pub(super) fn parse(mut self, name: &str, query: &str) -> Self {
        frontend::parse(&mut self.0, name.as_bytes(), query.as_bytes(), &[]);
        self
    }

    /// To the unnamed portal, with text parameters.
    pub(super) fn bind(self, name: &str, parameters: &[&str]) -> Self {
        self.bind_to("", name, parameters)
    }

    pub(super) fn bind_to(mut self, portal: &str, name: &str, parameters: &[&str]) -> Self {
        let mut rest = vec![0, 0];
        rest.extend((parameters.len() as u16).to_be_bytes());
        for parameter in parameters {
            rest.extend((parameter.len() as u32).to_be_bytes());
            rest.extend(parameter.as_bytes());
        }
        rest.extend([0, 0]);
        frontend::bind_head(&mut self.0, portal.as_bytes(), name.as_bytes(), rest.len());
        self.0.extend(rest);
        self
    }

    pub(super) fn describe(mut self, name: &str) -> Self {
        frontend::describe(&mut self.0, Target::Statement(name.as_bytes()));
        self
    }

    pub(super) fn execute(self) -> Self {
        self.execute_some("", 0)
    }

    pub(super) fn execute_some(mut self, portal: &str, rows: i32) -> Self {
        let mut body = portal.as_bytes().to_vec();
        body.push(0);
        body.extend(rows.to_be_bytes());
        self.0.extend(Dialogue::message(FrontendTag::Execute, &body));
        self
    }

    /// Bind and Execute.
    pub(super) fn run(self, name: &str, parameters: &[&str]) -> Self {
        self.bind(name, parameters).execute()
    }

    pub(super) fn close(mut self, name: &str) -> Self {
        frontend::close(&mut self.0, Target::Statement(name.as_bytes()));
        self
    }

    pub(super) fn flush(mut self) -> Self {
        frontend::flush(&mut self.0);
        self
    }

    pub(super) fn sync(mut self) -> Self {
        frontend::sync(&mut self.0);
        self
    }

    pub(super) fn query(mut self, text: &str) -> Self {
        frontend::query(&mut self.0, text);
        self
    }

    pub(super) fn copy(mut self, tag: FrontendTag, body: &[u8]) -> Self {
        self.0.extend(Dialogue::message(tag, body));
        self
    }
}

pub(super) fn batch() -> Batch {
    Batch::default()
}
