//! Messages as drivers write them.

use bs9_wire::{
    encode::{self, frontend},
    message::frontend::Target,
    tag::FrontendTag,
};

/// Messages to be sent in one piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch(pub(crate) Vec<u8>);

/// A parameter, or an argument of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Text(String),
    Binary(Vec<u8>),
}

impl Value {
    fn format(&self) -> u16 {
        u16::from(matches!(self, Self::Binary(_)))
    }

    /// The formats of all, then the values.
    fn write_all(values: &[Self], out: &mut Vec<u8>) {
        let count = u16::try_from(values.len()).expect("few values").to_be_bytes();
        out.extend(count);
        values.iter().for_each(|value| out.extend(value.format().to_be_bytes()));
        out.extend(count);
        for value in values {
            let bytes = match value {
                Self::Null => {
                    out.extend((-1i32).to_be_bytes());
                    continue;
                }
                Self::Text(text) => text.as_bytes(),
                Self::Binary(bytes) => bytes,
            };
            out.extend((bytes.len() as u32).to_be_bytes());
            out.extend(bytes);
        }
    }
}

impl Batch {
    pub(crate) fn parse(self, name: &str, query: &str) -> Self {
        self.parse_typed(name, query, &[])
    }

    pub(crate) fn parse_typed(mut self, name: &str, query: &str, types: &[u32]) -> Self {
        let types: Vec<u8> = types.iter().flat_map(|id| id.to_be_bytes()).collect();
        frontend::parse(&mut self.0, name.as_bytes(), query.as_bytes(), &types);
        self
    }

    /// To the unnamed portal, with text parameters.
    pub(crate) fn bind(self, name: &str, parameters: &[&str]) -> Self {
        self.bind_to("", name, parameters)
    }

    pub(crate) fn bind_to(self, portal: &str, name: &str, parameters: &[&str]) -> Self {
        let values: Vec<_> =
            parameters.iter().map(|text| Value::Text((*text).to_owned())).collect();
        self.bind_values(portal, name, &values, false)
    }

    /// `binary`: the format of all results.
    pub(crate) fn bind_values(
        mut self,
        portal: &str,
        name: &str,
        values: &[Value],
        binary: bool,
    ) -> Self {
        let mut rest = Vec::new();
        Value::write_all(values, &mut rest);
        rest.extend(if binary { &[0, 1, 0, 1][..] } else { &[0, 0] });
        frontend::bind_head(&mut self.0, portal.as_bytes(), name.as_bytes(), rest.len());
        self.0.extend(rest);
        self
    }

    pub(crate) fn describe(self, name: &str) -> Self {
        self.describe_target(Target::Statement(name.as_bytes()))
    }

    pub(crate) fn describe_target(mut self, target: Target<'_>) -> Self {
        frontend::describe(&mut self.0, target);
        self
    }

    pub(crate) fn execute(self) -> Self {
        self.execute_some("", 0)
    }

    pub(crate) fn execute_some(self, portal: &str, rows: i32) -> Self {
        let mut body = portal.as_bytes().to_vec();
        body.push(0);
        body.extend(rows.to_be_bytes());
        self.message(FrontendTag::Execute, &body)
    }

    /// Bind and Execute.
    pub(crate) fn run(self, name: &str, parameters: &[&str]) -> Self {
        self.bind(name, parameters).execute()
    }

    /// Parse, Bind, Describe and Execute of the unnamed statement.
    pub(crate) fn extended(self, query: &str) -> Self {
        self.parse("", query).bind("", &[]).describe_target(Target::Portal(b"")).execute()
    }

    pub(crate) fn close(self, name: &str) -> Self {
        self.close_target(Target::Statement(name.as_bytes()))
    }

    pub(crate) fn close_target(mut self, target: Target<'_>) -> Self {
        frontend::close(&mut self.0, target);
        self
    }

    pub(crate) fn call(self, function: u32, arguments: &[Value], binary: bool) -> Self {
        let mut body = function.to_be_bytes().to_vec();
        Value::write_all(arguments, &mut body);
        body.extend([0, u8::from(binary)]);
        self.message(FrontendTag::FunctionCall, &body)
    }

    pub(crate) fn flush(mut self) -> Self {
        frontend::flush(&mut self.0);
        self
    }

    pub(crate) fn sync(mut self) -> Self {
        frontend::sync(&mut self.0);
        self
    }

    pub(crate) fn query(mut self, text: &str) -> Self {
        frontend::query(&mut self.0, text);
        self
    }

    pub(crate) fn message(mut self, tag: FrontendTag, body: &[u8]) -> Self {
        encode::message(&mut self.0, tag, |out| out.extend_from_slice(body));
        self
    }

    pub(crate) fn copy_data(self, lines: &str) -> Self {
        self.message(FrontendTag::CopyData, lines.as_bytes())
    }

    pub(crate) fn copy_done(self) -> Self {
        self.message(FrontendTag::CopyDone, b"")
    }

    pub(crate) fn copy_fail(mut self, reason: &str) -> Self {
        frontend::copy_fail(&mut self.0, reason);
        self
    }
}

pub(crate) fn batch() -> Batch {
    Batch::default()
}
