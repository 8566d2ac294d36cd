vcl 4.1;

# As a proxy, not as a cache: every request goes to the origin.
backend origin {
    .host = "{{origin_ip}}";
    .port = "{{origin_port}}";
}

sub vcl_recv {
    return (pass);
}
