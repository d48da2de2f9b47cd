//! The whole data plane in one process: a client, the proxy, an upstream.

use serde_json::json;

use crate::testing::*;

#[tokio::test]
async fn a_request_goes_out_and_in() {
    let application = says("hello").await;
    let inbound = plane_with(&serves(application, "off", &json!({})));
    let outbound = plane_with(&calls(&[inbound.inbound_address("http").unwrap()]));
    let mut client = Client::connect(outbound.outbound_address().unwrap(), Speaks::Http1).await;
    for _ in 0..3 {
        let got = client.get("/").await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "hello"), "{got:?}");
    }
    let unknown = client.request(http::Method::GET, "http://elsewhere/").body(full("")).unwrap();
    let got = client.send(unknown).await.unwrap();
    assert_eq!((got.status.as_u16(), got.reason()), (502, "unknown-host"), "{got:?}");
}
