//! Requests and what becomes of them, by section of the RFCs.

use super::*;

/// RFC and section, input, verdict.
type Case = (&'static str, &'static [u8], &'static str);

const LINES: &[Case] = &[
    ("9112 2.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 2.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", "none"),
    ("9112 2.1", b"GET / HTTP/1.1\r\nHost: a\r\n", "partial"),
    ("9112 2.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r", "partial"),
    ("9112 2.1", b"GET / HTTP/1.1\r\nHost: a\r\nX: y", "partial"),
    ("9112 2.1", b"", "partial"),
    ("9112 2.1", b"G", "partial"),
    ("9112 2.2", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 2.2", b"\r\n\n\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    (
        "9112 2.2",
        b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "400 leading_empty_lines",
    ),
    ("9112 2.2", b"\n\n\n\n\n", "400 leading_empty_lines"),
    ("9112 2.2", b"\r\n\r\n", "partial"),
    ("9112 2.2", b"\r", "partial"),
    ("9112 2.2", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bare_cr"),
    ("9112 2.2", b"GET / HTTP/1.1\nHost: a\n\n", "none"),
    ("9112 2.2", b"GET / HTTP/1.1\r\nHost: a\n\r\n", "none"),
    ("9112 2.2", b"GET / HTTP/1.1\nHost: a\r\n\n", "none"),
    ("9112 2.2", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "400 bare_cr"),
    ("9112 2.2", b"GET / HTTP/1.1\rHost: a\r\n\r\n", "400 bare_cr"),
    ("9112 2.2", b"GET / HTTP/1.1\r\rHost: a\r\n\r\n", "400 bare_cr"),
    ("9112 2.2", b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", "400 bare_cr"),
    ("9112 2.2", b"GET / HTTP/1.1\r\nHost: a\r\n\rGET", "400 bare_cr"),
    ("9112 2.2", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 obsolete_fold"),
    ("9112 2.2", b"GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", "400 obsolete_fold"),
    ("9112 3", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_method"),
    ("9112 3", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9112 3", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_method"),
    ("9112 3", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9112 3", b"GET / HTTP/1.1\t\r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9112 3", b"GET /\r\n", "400 invalid_target"),
    ("9112 3", b"GET\r\n", "400 invalid_method"),
    ("9112 3", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9110 9.1", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_method"),
    ("9110 9.1", b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_method"),
    ("9110 9.1", b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_method"),
    ("9110 9.1", b"G,T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_method"),
    ("9110 9.1", b"\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_method"),
    ("9110 9.1", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9110 9.1", b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9110 9.1", b"!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
];

const VERSIONS: &[Case] = &[
    ("9112 2.3", b"GET / HTTP/1.0\r\n\r\n", "none"),
    ("9112 2.3", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 unsupported_version"),
    ("9112 2.3", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505 unsupported_version"),
    ("9112 2.3", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "505 unsupported_version"),
    ("9112 2.3", b"GET / HTTP/3.0\r\n", "505 unsupported_version"),
    ("9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 unsupported_version"),
    ("9112 2.3", b"GET / HTTP/1\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / HTTP/11\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / HTTP/1.10\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / HTTP/1.1x\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / http/1.1\r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / ICY/1.1\r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / \r\nHost: a\r\n\r\n", "400 invalid_version"),
    ("9112 2.3", b"GET / HTTP/2", "partial"),
    ("9112 2.3", b"GET / HTTP/-1.1\r\n\r\n", "400 invalid_version"),
];

const TARGETS: &[Case] = &[
    ("9112 3.2.1", b"GET /a/../b;c?d=/e?f HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 3.2.1", b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 3.2.1", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET \\a HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.1", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.2", b"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 3.2.2", b"GET HTTP://b:80?c HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 3.2.2", b"GET https://[::1]:8/ HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 3.2.2", b"GET http:/b HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.2", b"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9110 4.2.1", b"GET http:///c HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9110 4.2.1", b"GET http://:80/c HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9110 4.2.4", b"GET http://u:p@b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9110 4.2.4", b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.2", b"GET http://b:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.2", b"GET http://b/ HTTP/1.1\r\n\r\n", "400 missing_host"),
    ("9112 3.2.2", b"GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", "400 invalid_host"),
    ("9112 3.2.2", b"GET http://b/ HTTP/1.0\r\n\r\n", "none"),
    ("9112 3.2.3", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "none"),
    ("9112 3.2.3", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.3", b"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.3", b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.3", b"CONNECT http://a:1/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.3", b"GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.4", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "none"),
    ("9112 3.2.4", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
    ("9112 3.2.4", b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", "400 invalid_target"),
];

const HOSTS: &[Case] = &[
    ("9112 3.2", b"GET / HTTP/1.1\r\n\r\n", "400 missing_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 repeated_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a\r\nhOsT: b\r\n\r\n", "400 repeated_host"),
    ("9112 3.2", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400 repeated_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: \t\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.0\r\nHost:\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: a\xc3\xa9\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", "400 invalid_host"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "none"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n", "none"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost:a.example.\r\n\r\n", "none"),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: \t a_b \t \r\n\r\n", "none"),
];

const FIELDS: &[Case] = &[
    ("9112 5.1", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 white_space_in_header_name"),
    ("9112 5.1", b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", "400 white_space_in_header_name"),
    ("9112 5.1", b"GET / HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n", "400 white_space_in_header_name"),
    (
        "9112 5.1",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        "400 white_space_in_header_name",
    ),
    (
        "9112 5.1",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
        "400 white_space_in_header_name",
    ),
    ("9112 5.2", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", "400 obsolete_fold"),
    ("9112 5.2", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\tz\r\n\r\n", "400 obsolete_fold"),
    (
        "9112 5.2",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
        "400 obsolete_fold",
    ),
    ("9112 5.2", b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", "400 obsolete_fold"),
    ("9112 5", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "400 invalid_header_name"),
    ("9112 5", b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", "400 invalid_header_name"),
    ("9110 5.1", b"GET / HTTP/1.1\r\nHost: a\r\nX(: y\r\n\r\n", "400 invalid_header_name"),
    ("9110 5.1", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n", "400 invalid_header_name"),
    ("9110 5.1", b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: y\r\n\r\n", "400 invalid_header_name"),
    ("9110 5.1", b"GET / HTTP/1.1\r\nHost: a\r\nX\r: y\r\n\r\n", "400 invalid_header_name"),
    (
        "9110 5.1",
        b"POST / HTTP/1.1\r\nHost: a\r\n\x0bTransfer-Encoding: chunked\r\n\r\n",
        "400 invalid_header_name",
    ),
    (
        "9110 5.1",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer\x00-Encoding: chunked\r\n\r\n",
        "400 invalid_header_name",
    ),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "400 invalid_header_value"),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", "400 invalid_header_value"),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", "400 invalid_header_value"),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n", "400 invalid_header_value"),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", "400 invalid_header_value"),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\tb \xe9\r\n\r\n", "none"),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \r\n\r\n", "none"),
    ("9110 10.1.1", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", "none"),
    (
        "9110 10.1.1",
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
        "length 1",
    ),
    (
        "9110 10.1.1",
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n",
        "417 unsupported_expectation",
    ),
    (
        "9110 10.1.1",
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n",
        "417 unsupported_expectation",
    ),
    ("9110 10.1.1", b"PUT / HTTP/1.0\r\nExpect: x\r\n\r\n", "none"),
];

/// The header lines of a POST in HTTP/1.1 with a good `Host`.
const FRAMING: &[(&str, &[u8], &str)] = &[
    ("9112 6.3", b"", "none"),
    ("9110 8.6", b"Content-Length: 0\r\n", "none"),
    ("9110 8.6", b"Content-Length: 5\r\n", "length 5"),
    ("9110 8.6", b"content-LENGTH:5\r\n", "length 5"),
    ("9110 8.6", b"Content-Length:\t5 \t\r\n", "length 5"),
    ("9110 8.6", b"Content-Length: 0005\r\n", "length 5"),
    ("9110 8.6", b"Content-Length: 9223372036854775807\r\n", "length 9223372036854775807"),
    ("9110 8.6", b"Content-Length: 9223372036854775808\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 18446744073709551615\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 18446744073709551616\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 99999999999999999999999999\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length:\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: \t\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: -5\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: +5\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 0x5\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 5a\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 5.0\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 1e3\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 1_000\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: \"5\"\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 5 5\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: 5;\r\n", "400 invalid_content_length"),
    ("9110 8.6", b"Content-Length: \xd9\xa5\r\n", "400 invalid_content_length"),
    ("9112 6.3", b"Content-Length: 5, 5\r\n", "400 invalid_content_length"),
    ("9112 6.3", b"Content-Length: 5, 6\r\n", "400 invalid_content_length"),
    ("9112 6.3", b"Content-Length: 5,\r\n", "400 invalid_content_length"),
    ("9112 6.3", b"Content-Length: ,5\r\n", "400 invalid_content_length"),
    ("9112 6.3", b"Content-Length: 5\r\nContent-Length: 5\r\n", "400 repeated_content_length"),
    ("9112 6.3", b"Content-Length: 5\r\nContent-Length: 6\r\n", "400 repeated_content_length"),
    (
        "9112 6.3",
        b"Content-Length: 0\r\nX: y\r\ncontent-length: 0\r\n",
        "400 repeated_content_length",
    ),
    ("9112 6.1", b"Transfer-Encoding: chunked\r\n", "chunked"),
    ("9112 6.1", b"transfer-encoding:CHUNKED\r\n", "chunked"),
    ("9112 6.1", b"Transfer-Encoding:\t chunked \t\r\n", "chunked"),
    ("9112 6.1", b"Transfer-Encoding: chunked\n", "chunked"),
    ("9112 6.1", b"Transfer-Encoding:\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: ,\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: chunked,\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: ,chunked\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: chunked, chunked\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: chunked, gzip\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: chunked, identity\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: gzip, chunked\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: gzip\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: identity\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: xchunked\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: chunked-1\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: x;q=\"y\"\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: cow, chunked\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: chunked chunked\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: chunked x\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: x chunked\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: chunked;q=1\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: \"chunked\"\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: 'chunked'\r\n", "501 unknown_transfer_coding"),
    ("9112 6.1", b"Transfer-Encoding: chunked\xa0\r\n", "400 invalid_transfer_encoding"),
    ("9112 6.1", b"Transfer-Encoding: \x0bchunked\r\n", "400 invalid_header_value"),
    ("9112 6.1", b"Transfer-Encoding: chunked\0\r\n", "400 invalid_header_value"),
    ("9112 6.1", b"Transfer-Encoding: [chunked]\r\n", "400 invalid_transfer_encoding"),
    (
        "9110 5.3",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "400 invalid_transfer_encoding",
    ),
    (
        "9110 5.3",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "400 invalid_transfer_encoding",
    ),
    (
        "9110 5.3",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "501 unknown_transfer_coding",
    ),
    (
        "9112 6.3",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "400 content_length_with_transfer_encoding",
    ),
    (
        "9112 6.3",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "400 content_length_with_transfer_encoding",
    ),
    (
        "9112 6.3",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "400 content_length_with_transfer_encoding",
    ),
    (
        "9112 6.3",
        b"Transfer-Encoding: chunked\r\nConnection: content-length\r\nContent-Length: 5\r\n",
        "400 content_length_with_transfer_encoding",
    ),
    ("9110 7.6.1", b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "chunked"),
    ("9110 7.6.1", b"Connection: content-length\r\nContent-Length: 5\r\n", "length 5"),
    ("9112 6.1", b"X: Transfer-Encoding: chunked\r\n", "none"),
    ("9112 6.1", b"Transfer_Encoding: chunked\r\n", "none"),
    ("9112 6.1", b"Content_Length: 5\r\n", "none"),
];

const OTHER_FRAMING: &[Case] = &[
    (
        "9112 6.1",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "400 transfer_encoding_in_http_1_0",
    ),
    (
        "9112 6.1",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "400 transfer_encoding_in_http_1_0",
    ),
    ("9112 6.3", b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", "length 1"),
    ("9110 9.3.1", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "length 1"),
    ("9110 9.3.2", b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked"),
    (
        "9110 9.3.6",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
        "400 connect_with_body",
    ),
    (
        "9110 9.3.6",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "400 connect_with_body",
    ),
];

#[test]
fn verdicts_follow_the_rfcs_and_do_not_depend_on_how_bytes_arrive() {
    let tables = [LINES, VERSIONS, TARGETS, HOSTS, FIELDS, OTHER_FRAMING];
    let framing: Vec<_> = FRAMING
        .iter()
        .map(|(section, lines, verdict)| {
            let input = [b"POST / HTTP/1.1\r\nHost: a\r\n".as_slice(), lines, b"\r\n"].concat();
            (*section, input, *verdict)
        })
        .collect();
    let fixed =
        tables.into_iter().flatten().map(|(section, input, verdict)| (*section, *input, *verdict));
    let cases: Vec<_> = fixed
        .chain(
            framing.iter().map(|(section, input, verdict)| (*section, input.as_slice(), *verdict)),
        )
        .collect();
    assert!(cases.len() >= 150, "{}", cases.len());
    for (section, input, verdict) in cases {
        assert_eq!(
            request_verdict(input, &LIMITS),
            verdict,
            "RFC {section}: {}",
            input.escape_ascii()
        );
        assert_settles(input, |bytes| request_verdict(bytes, &LIMITS));
    }
}

#[test]
fn limits_have_verdicts_of_their_own() {
    let request = |target: usize, fields: usize, value: usize| {
        let mut text = format!("GET /{} HTTP/1.1\r\nHost: a\r\n", "x".repeat(target - 1));
        (1..fields).for_each(|_| text.push_str(&format!("X: {}\r\n", "v".repeat(value))));
        text.push_str("\r\n");
        text.into_bytes()
    };
    let cases = [
        (request(64, 16, 1), "none"),
        (request(65, 16, 1), "414 uri_too_long"),
        (request(5000, 1, 1), "414 uri_too_long"),
        (request(1, 17, 1), "431 too_many_headers"),
        (request(1, 200, 1), "431 too_many_headers"),
        (request(1, 2, 992), "none"),
        (request(1, 2, 993), "431 head_too_large"),
        (request(1, 2, 5000), "431 head_too_large"),
        (request(1, 10, 500), "431 head_too_large"),
        (b"A".repeat(1024), "431 head_too_large"),
        ([b"GET /".to_vec(), b"x".repeat(80)].concat(), "414 uri_too_long"),
        ([b"GET ".as_slice(), &b"\xff".repeat(80)].concat(), "414 uri_too_long"),
    ];
    for (input, verdict) in cases {
        assert_eq!(request_verdict(&input, &LIMITS), verdict, "{} bytes", input.len());
        assert_settles(&input, |bytes| request_verdict(bytes, &LIMITS));
    }
    assert_eq!(request(1, 2, 992).len(), LIMITS.max_head_bytes);

    let many = request(1, MAX_HEADERS, 1);
    let limits = HeadLimits { max_headers: 1000, ..HeadLimits::default() };
    assert_eq!(request_verdict(&many, &limits), "none");
    assert_eq!(request_verdict(&request(1, MAX_HEADERS + 1, 1), &limits), "431 too_many_headers");
}

#[test]
fn connection_options_are_bounded() {
    let request =
        |count| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", "x,".repeat(count));
    assert_eq!(request_verdict(request(32).as_bytes(), &LIMITS), "none");
    assert_eq!(request_verdict(request(33).as_bytes(), &LIMITS), "400 too_many_connection_options");
}

/// Gives a parsed head to `look`.
fn with_head<T>(text: &str, look: impl FnOnce(&RequestHead<'_>) -> T) -> T {
    let mut storage = HeaderStorage::new();
    match parse_request(text.as_bytes(), &LIMITS, &mut storage) {
        Ok(Parsed::Complete(head)) => look(&head),
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn connections_persist_by_version_and_option() {
    let cases = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive, x\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, lines, expected) in cases {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(with_head(&text, |head| head.keep_alive), expected, "{text}");
    }
}

#[test]
fn upgrades_are_taken_up_only_when_whole_and_safe() {
    let cases = [
        ("Connection: upgrade\r\nUpgrade: websocket\r\n", Some("websocket")),
        ("Connection: keep-alive, Upgrade\r\nUpgrade: a/1\r\n", Some("a/1")),
        ("Upgrade: websocket\r\n", None),
        ("Connection: upgrade\r\n", None),
        ("Connection: upgrade\r\nUpgrade:\r\n", None),
        ("Connection: upgrade\r\nUpgrade: a, b\r\n", None),
        ("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", None),
        ("Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", None),
        ("Connection: upgrade\r\nUpgrade: HTTP/3.0\r\n", None),
        ("Connection: upgrade\r\nUpgrade: TLS/1.0\r\n", None),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", None),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", Some("websocket")),
    ];
    for (lines, expected) in cases {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        with_head(&text, |head| {
            assert_eq!(head.upgrade, expected, "{text}");
            assert_eq!(head.response_to().upgrade, expected.is_some());
        });
    }
    let old = "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(!with_head(old, |head| head.upgrade.is_some()));
}

#[test]
fn hosts_come_from_the_target_first() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a:1\r\n\r\n", Some("a:1")),
        ("GET http://b:2/ HTTP/1.1\r\nHost: a:1\r\n\r\n", Some("b:2")),
        ("GET http://b?c HTTP/1.0\r\n\r\n", Some("b")),
        ("CONNECT c:3 HTTP/1.1\r\nHost: a\r\n\r\n", Some("c:3")),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Some("a")),
        ("GET / HTTP/1.0\r\n\r\n", None),
    ];
    for (text, expected) in cases {
        assert_eq!(
            with_head(text, |head| head.host.map(str::to_owned)).as_deref(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn heads_are_views_that_end_where_the_body_starts() {
    let text = "\r\nPUT /a?b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc";
    with_head(text, |head| {
        assert_eq!(&text[head.head_len..], "abc");
        assert_eq!(
            (head.method, head.target.path(), head.target.query()),
            ("PUT", "/a", Some("b"))
        );
        assert_eq!(head.header("X-a"), Some(b"1".as_slice()));
        assert_eq!(head.header("X-b"), None);
        assert!(head.expect_continue);
        assert_eq!(head.headers().count(), 5);
        assert_eq!(head.headers().nth(3), Some(("x-a", b"2".as_slice())));
        assert_eq!(head.response_to(), ResponseTo::default());
    });
}
