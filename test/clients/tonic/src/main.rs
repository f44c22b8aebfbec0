//! Calls the service with tonic: the arguments are the encoding, the address, an API key, a bucket and a key that it lacks.
use kv::key_value_service_client::KeyValueServiceClient;
use kv::precondition::Condition::IfAbsent;
use kv::watch_response::Event;
use kv::{GetRequest, Precondition, PutRequest, WatchRequest};
use std::{env::args, error::Error, time::Duration};
use tonic::codec::CompressionEncoding::Gzip;
use tonic::{Code, Request, Status, transport::Endpoint};

mod kv {
    tonic::include_proto!("ironflow.kv.v1");
}

const TOO_LARGE_BYTES: usize = 2 << 20;
const DEADLINE: Duration = Duration::from_millis(500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [encoding, url, api_key, bucket, missing_key] =
        args().skip(1).collect::<Vec<_>>().try_into().expect("encoding, address, API key, bucket, key");
    let channel = Endpoint::from_shared(url)?.connect().await?;
    let mut client = KeyValueServiceClient::new(channel);
    if encoding == "gzip" {
        client = client.send_compressed(Gzip).accept_compressed(Gzip);
    }
    let get = GetRequest { bucket: bucket.clone(), key: "k".into(), ..Default::default() };
    let put = PutRequest { bucket: bucket.clone(), key: "k".into(), value: b"Ann".to_vec(), ..Default::default() };

    let written = client.put(authorized(put.clone(), &api_key)?).await?.into_inner();
    println!("put {}", written.revision == 1);
    let entry = client.get(authorized(get.clone(), &api_key)?).await?.into_inner().entry.expect("an entry");
    println!("get {}", String::from_utf8(entry.value)?);
    let create = PutRequest { precondition: Some(Precondition { condition: Some(IfAbsent(true)), ..Default::default() }), ..put.clone() };
    println!("conflict {:?}", code(client.put(authorized(create, &api_key)?).await));
    let large = PutRequest { value: vec![0; TOO_LARGE_BYTES], ..put };
    println!("too large {:?}", code(client.put(authorized(large, &api_key)?).await));
    let missing = GetRequest { key: missing_key, ..get.clone() };
    let refused = client.get(authorized(missing, &api_key)?).await.expect_err("no such key");
    println!("missing {}", refused.message());
    println!("without key {:?}", code(client.get(get).await));

    // With gzip, the headers must not wait for the first event.
    let watch = WatchRequest { bucket, ..Default::default() };
    let mut events = client.watch(authorized(watch.clone(), &api_key)?).await?.into_inner();
    while let Some(response) = events.message().await? {
        if let Some(Event::Change(change)) = response.event {
            println!("watch {}", change.entry.expect("an entry").key);
            break;
        }
    }
    let mut limited = authorized(watch, &api_key)?;
    limited.set_timeout(DEADLINE);
    let mut events = client.watch(limited).await?.into_inner();
    let refused = loop {
        match events.message().await {
            Ok(Some(_)) => (),
            other => break other,
        }
    };
    println!("deadline {:?}", code(refused));
    Ok(())
}

fn authorized<Message>(message: Message, api_key: &str) -> Result<Request<Message>, Box<dyn Error>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {api_key}").parse()?);
    Ok(request)
}

fn code<Answer>(answer: Result<Answer, Status>) -> Code {
    answer.err().map_or(Code::Ok, |refused| refused.code())
}
