"""What a reader is told whose question the book does not answer, by language.

Names of languages are those of `lib.small_words.asked_in`.
"""

from typing import Final

NOT_IN_BOOK: Final = {
    "arabic": "يبدو أن الكتاب لا يجيب عن هذا السؤال.",
    "catalan": "Sembla que el llibre no respon aquesta pregunta.",
    "chinese": "本书似乎没有回答这个问题。",
    "czech": "Zdá se, že kniha na tuto otázku neodpovídá.",
    "danish": "Bogen ser ikke ud til at besvare dette.",
    "dutch": "Het boek lijkt hier geen antwoord op te geven.",
    "english": "The book does not seem to answer this.",
    "finnish": "Kirja ei näytä vastaavan tähän.",
    "french": "Le livre ne semble pas répondre à cette question.",
    "german": "Das Buch scheint darauf keine Antwort zu geben.",
    "greek": "Το βιβλίο δεν φαίνεται να απαντά σε αυτό.",
    "hindi": "लगता है कि इस पुस्तक में इसका उत्तर नहीं है।",
    "hungarian": "Úgy tűnik, a könyv erre nem ad választ.",
    "indonesian": "Buku ini tampaknya tidak menjawab pertanyaan ini.",
    "italian": "Sembra che il libro non risponda a questa domanda.",
    "japanese": "この本にはその答えが見当たりません。",
    "korean": "이 책에는 이 질문에 대한 답이 없는 것 같습니다.",
    "norwegian": "Boken ser ikke ut til å svare på dette.",
    "persian": "به نظر می‌رسد کتاب به این پرسش پاسخ نمی‌دهد.",
    "polish": "Wygląda na to, że książka na to nie odpowiada.",
    "portuguese": "O livro não parece responder a esta pergunta.",
    "romanian": "Cartea nu pare să răspundă la această întrebare.",
    "russian": "Похоже, книга не отвечает на этот вопрос.",
    "spanish": "Parece que el libro no responde a esta pregunta.",
    "swedish": "Boken verkar inte svara på detta.",
    "thai": "ดูเหมือนว่าหนังสือเล่มนี้ไม่มีคำตอบสำหรับคำถามนี้",
    "turkish": "Kitap bu soruyu yanıtlamıyor gibi görünüyor.",
    "ukrainian": "Схоже, книга не відповідає на це запитання.",
    "urdu": "لگتا ہے کہ کتاب میں اس کا جواب نہیں ہے۔",
    "vietnamese": "Có vẻ cuốn sách không trả lời câu hỏi này.",
}

NEAREST: Final = {
    "arabic": "أقرب الصفحات إليه:",
    "catalan": "Aquestes pàgines són les més properes:",
    "chinese": "最接近的页面是：",
    "czech": "Nejblíže jsou tyto stránky:",
    "danish": "Disse sider kommer tættest på:",
    "dutch": "Deze pagina's komen het dichtst in de buurt:",
    "english": "These pages come closest:",
    "finnish": "Nämä sivut ovat lähimpänä:",
    "french": "Ces pages s'en approchent le plus :",
    "german": "Diese Seiten kommen ihm am nächsten:",
    "greek": "Αυτές οι σελίδες είναι οι πιο κοντινές:",
    "hindi": "ये पृष्ठ सबसे निकट हैं:",
    "hungarian": "Ezek az oldalak állnak hozzá a legközelebb:",
    "indonesian": "Halaman-halaman ini yang paling mendekati:",
    "italian": "Queste pagine ci si avvicinano di più:",
    "japanese": "最も近いページ:",
    "korean": "가장 가까운 페이지:",
    "norwegian": "Disse sidene kommer nærmest:",
    "persian": "این صفحه‌ها به آن نزدیک‌ترند:",
    "polish": "Najbliższe są te strony:",
    "portuguese": "Estas páginas são as mais próximas:",
    "romanian": "Aceste pagini sunt cele mai apropiate:",
    "russian": "Ближе всего эти страницы:",
    "spanish": "Estas páginas son las más cercanas:",
    "swedish": "De här sidorna kommer närmast:",
    "thai": "หน้าที่ใกล้เคียงที่สุด:",
    "turkish": "En yakın sayfalar şunlar:",
    "ukrainian": "Найближчі сторінки:",
    "urdu": "یہ صفحات سب سے قریب ہیں:",
    "vietnamese": "Những trang gần nhất:",
}

ASK: Final = {
    "arabic": "اسألني شيئًا عن هذا الكتاب.",
    "catalan": "Pregunta'm alguna cosa sobre aquest llibre.",
    "chinese": "请问我关于这本书的问题。",
    "czech": "Zeptejte se mě na něco z této knihy.",
    "danish": "Spørg mig om noget i denne bog.",
    "dutch": "Vraag me iets over dit boek.",
    "english": "Ask me something about this book.",
    "finnish": "Kysy minulta jotain tästä kirjasta.",
    "french": "Posez-moi une question sur ce livre.",
    "german": "Frag mich etwas zu diesem Buch.",
    "greek": "Ρωτήστε με κάτι για αυτό το βιβλίο.",
    "hindi": "मुझसे इस पुस्तक के बारे में कुछ पूछें।",
    "hungarian": "Kérdezzen valamit erről a könyvről.",
    "indonesian": "Tanyakan sesuatu tentang buku ini.",
    "italian": "Fammi una domanda su questo libro.",
    "japanese": "この本について質問してください。",
    "korean": "이 책에 대해 질문해 주세요.",
    "norwegian": "Spør meg om noe i denne boken.",
    "persian": "درباره این کتاب چیزی از من بپرسید.",
    "polish": "Zapytaj mnie o coś z tej książki.",
    "portuguese": "Pergunte-me algo sobre este livro.",
    "romanian": "Întreabă-mă ceva despre această carte.",
    "russian": "Спросите меня о чём-нибудь из этой книги.",
    "spanish": "Pregúntame algo sobre este libro.",
    "swedish": "Fråga mig något om den här boken.",
    "thai": "ถามฉันเกี่ยวกับหนังสือเล่มนี้ได้เลย",
    "turkish": "Bana bu kitap hakkında bir şey sorun.",
    "ukrainian": "Запитайте мене щось про цю книгу.",
    "urdu": "مجھ سے اس کتاب کے بارے میں کچھ پوچھیں۔",
    "vietnamese": "Hãy hỏi tôi điều gì đó về cuốn sách này.",
}
"""In answer to a greeting or thanks."""

SMALL_TALK: Final = frozenset(
    phrase.strip()
    for phrase in """
    hello | hi | hey | hi there | hello there | hey there | good morning | good evening | bye
    | goodbye | thanks | thank you | thank you very much | thanks a lot | many thanks | thx | lol
    | who are you | what are you | what is your name | what's your name | are you a human
    | are you human | are you a bot | how are you | hi how are you | what can you do
    | great | cool | nice | perfect | got it | ok thanks | okay thanks | test
    | can you help me | help me | tell me a joke | i love you | you are wrong
    | hola | buenos días | gracias | muchas gracias | adiós | quién eres | cómo estás
    | bonjour | salut | merci | merci beaucoup | au revoir | qui es-tu | qui êtes-vous | ça va
    | hallo | guten tag | guten morgen | danke | vielen dank | tschüss | wer bist du
    | wie geht's | hallo wie geht's
    | ciao | buongiorno | grazie | chi sei | come stai
    | olá | oi | bom dia | obrigado | obrigada | quem é você | tudo bem | olá tudo bem
    | hoi | dank je | dank u | bedankt | wie ben je | hej | tack | tak | takk | moi | kiitos
    | ahoj | děkuji | cześć | dzień dobry | dziękuję | dzięki | szia | köszönöm | mulțumesc
    | привет | здравствуйте | спасибо | кто ты | как дела | привіт | дякую
    | merhaba | selam | teşekkürler | teşekkür ederim | sen kimsin
    | مرحبا | السلام عليكم | شكرا | شكراً | من أنت | سلام | ممنون | متشکرم | شکریہ | آپ کون ہیں
    | नमस्ते | धन्यवाद | आप कौन हैं | halo | terima kasih | xin chào | cảm ơn | สวัสดี | ขอบคุณ
    | γεια | γεια σου | ευχαριστώ | 你好 | 您好 | 谢谢 | 你是谁 | こんにちは | ありがとう
    | ありがとうございます | あなたは誰ですか | 안녕하세요 | 안녕 | 감사합니다 | 고마워요
    """.replace("\n", " ").split("|")
)
"""Whole questions, in lower case and without punctuation, that are about no book."""
